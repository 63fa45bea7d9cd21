"""What becomes of each tensor of a checkpoint when the ONNX file of the same network is cut."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from graphprune.errors import ModelError, PlanError
from graphprune.hf_checkpoint import experts
from graphprune.hf_checkpoint.places import Finder, Place, kept_rows, likeliest, turned
from graphprune.hf_checkpoint.tensors import Checkpoint

_NUMBERED = re.compile(r"^(.*?\.)(\d+)\.(.+)$")
_MOST_NAMES = 3
_STACK_RANK = 3


@dataclass(frozen=True)
class Weights:
    """The weights of an ONNX file by name: as it was, cut as the plan says, and that with what a repair made of it.

    They have one or two axes: stacks of experts are taken apart.
    """

    before: Mapping[str, np.ndarray]
    cut: Mapping[str, np.ndarray]
    after: Mapping[str, np.ndarray]


@dataclass
class CutTensors:
    """``values`` are new ones by name, ``gone`` the tensors that go; ``shapes`` are those before of all."""

    values: dict[str, np.ndarray] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    unknown: dict[str, list[Place]] = field(default_factory=dict)


def cut_tensors(checkpoint: Checkpoint, weights: Weights) -> CutTensors:
    """Follow every tensor of ``checkpoint`` through the cut.

    ``unknown`` are those that lie nowhere in the file, or in several places of which different things become.
    """
    finder, result = Finder(weights.before), CutTensors()
    vectors: dict[Place, list[str]] = defaultdict(list)
    for name in checkpoint.files:
        tensor = checkpoint.read(name)
        result.shapes[name] = tensor.shape
        # transformers 5 stacks the experts of a layer; each is followed for itself
        matrices = list(tensor) if tensor.ndim == _STACK_RANK else [tensor]
        left: list[np.ndarray] = []
        for matrix in matrices:
            chosen, outcomes = _followed(name, matrix, finder, weights)
            first = outcomes[0] if outcomes else None
            if not outcomes or any(not _same(first, other) for other in outcomes[1:]):
                result.unknown[name] = chosen
                break
            left += [] if first is None else [first]
            if tensor.ndim == 1 and len(chosen) == 1:
                vectors[chosen[0]].append(name)
        else:
            _put(result, name, tensor, left)
    for place, names in vectors.items():
        if len(names) > 1:  # norms that are all ones, kept once: what becomes of one says nothing of the others
            result.unknown |= {name: [place] for name in names}
            result.gone -= set(names)
    return result


def _followed(
    name: str, tensor: np.ndarray, finder: Finder, weights: Weights
) -> tuple[list[Place], list[np.ndarray | None]]:
    """The likeliest places of a tensor, and what becomes of it in each."""
    places = finder.places(tensor) if tensor.ndim in (1, 2) else []
    chosen = likeliest(name, places) if len(places) > 1 else places
    return chosen, [_outcome(tensor, place, weights) for place in chosen]


def _put(result: CutTensors, name: str, tensor: np.ndarray, left: list[np.ndarray]) -> None:
    """Note what is ``left`` of a tensor: it, or the experts of a stack that stay."""
    if not left:
        result.gone.add(name)
        return
    now = np.stack(left) if tensor.ndim == _STACK_RANK else left[0]
    if now.shape != tensor.shape or not np.array_equal(now, tensor):
        result.values[name] = now


def _same(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    if one is None or other is None:
        return one is other
    return np.array_equal(one, other)


def _outcome(tensor: np.ndarray, place: Place, weights: Weights) -> np.ndarray | None:
    """What is left of a tensor that lies at ``place``; None where nothing is."""
    if place.weight not in weights.after:
        return None
    before = turned(weights.before[place.weight], place.is_turned)
    after = turned(weights.after[place.weight], place.is_turned)
    if before.shape == after.shape and np.array_equal(before, after):
        return tensor
    start, stop = 0, len(after)
    if (place.start, place.stop) != (0, len(before)):
        kept = kept_rows(before, turned(weights.cut[place.weight], place.is_turned))
        if kept is None:
            raise ModelError(f"what is left of '{place.weight}' cannot be told", "please report this")
        start, stop = (int(np.searchsorted(kept, bound)) for bound in (place.start, place.stop))
    if start == stop:
        return None
    left = turned(after[start:stop], place.is_other_turned)
    return left.astype(tensor.dtype)


def layer_of(name: str) -> tuple[str, int, str] | None:
    """The stem, the number and the rest of a name that begins with a numbered part; None for others."""
    match = _NUMBERED.match(name)
    return (match[1], int(match[2]), match[3]) if match else None


@dataclass(frozen=True)
class Layers:
    """``count`` layers named by ``stem`` and their number, of which ``kept`` stay."""

    stem: str
    count: int
    kept: tuple[int, ...]

    def renamed(self, names: Mapping[str, object], gone: set[str]) -> dict[str, str]:
        """The new name of each tensor that stays, by its old one."""
        result = {}
        for name in names:
            at = layer_of(name)
            if name in gone:
                continue
            if at is None or at[0] != self.stem:
                result[name] = name
            elif at[1] in self.kept:
                result[name] = f"{self.stem}{self.kept.index(at[1])}.{at[2]}"
        return experts.renumbered(result)


def layers_of(cut: CutTensors) -> Layers:
    """Which layers stay.

    Raises
    ------
    PlanError
        A layer loses a part of what it has, or something outside the layers goes.
    """
    parts: dict[str, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name in cut.shapes:
        if (at := layer_of(name)) is not None:
            parts[at[0]][at[1]].append(name)
    if not parts:
        raise ModelError("the checkpoint has no numbered layers", "apply-hf is for transformers of equal layers")
    stem = max(parts, key=lambda each: sum(map(len, parts[each].values())))
    kept = []
    for number, names in sorted(parts[stem].items()):
        known = [name for name in names if name not in cut.unknown and not experts.is_numbered(name)]
        gone = [name for name in known if name in cut.gone]
        if gone and len(gone) < len(known):
            raise PlanError(
                f"layer {number} loses {_some(gone)} and keeps {_some(sorted(set(known) - set(gone)))}: transformers "
                "knows no such layer",
                "remove whole layers (attention and MLP of each), or deploy the ONNX file, which may have them",
            )
        if not gone:
            kept.append(number)
    outside = [name for name in cut.gone if (at := layer_of(name)) is None or at[0] != stem]
    if outside:
        raise PlanError(f"{_some(outside)} would go, which transformers asks for", "make another plan")
    if not kept:
        raise PlanError("no layer would be left", "make another plan")
    return Layers(stem, len(parts[stem]), tuple(kept))


def check_alike(cut: CutTensors, layers: Layers) -> None:
    """Refuse layers that differ in a shape in which they did not before.

    Raises
    ------
    PlanError
        They do.
    """
    for part, shapes in _by_part(cut, layers):
        olds, news = {old for _, old, _ in shapes}, {new for _, _, new in shapes}
        if len(olds) == 1 and len(news) > 1:
            sizes = ", ".join(f"{number}: {'x'.join(map(str, new))}" for number, _, new in shapes[:_MOST_NAMES])
            sizes += ", ..." if len(shapes) > _MOST_NAMES else ""
            raise PlanError(
                f"{part} differs from layer to layer ({sizes}): transformers has one number for all",
                "make a plan that takes the same from every layer: scope=group with --target ratio=R",
            )


def _by_part(
    cut: CutTensors, layers: Layers
) -> Iterator[tuple[str, list[tuple[int, tuple[int, ...], tuple[int, ...]]]]]:
    """The shapes of each part of a layer: number of the layer, shape before and after."""
    parts: dict[str, list[tuple[int, tuple[int, ...], tuple[int, ...]]]] = defaultdict(list)
    for name, old in cut.shapes.items():
        at = layer_of(name)
        if at is not None and at[0] == layers.stem and at[1] in layers.kept:
            new = cut.values[name].shape if name in cut.values else old
            parts[at[2]].append((at[1], old, new))
    yield from parts.items()


def axis_changes(cut: CutTensors, layers: Layers) -> set[tuple[int, int]]:
    """Sizes of axes before and after, of those that shrink."""
    return {
        (was, now)
        for _, shapes in _by_part(cut, layers)
        for _, old, new in shapes
        for was, now in zip(old, new, strict=True)
        if was != now
    }


def check_known(cut: CutTensors, layers: Layers, shrunk: set[tuple[int, int]]) -> None:
    """Refuse where a tensor that stays could not be followed and may have to change.

    Raises
    ------
    ModelError
        It may.
    """
    sizes = {was for was, _ in shrunk}
    for name, places in cut.unknown.items():
        at = layer_of(name)
        if at is not None and at[0] == layers.stem and at[1] not in layers.kept:
            continue
        shape = cut.shapes[name]
        if len(shape) > 1 or sizes & set(shape):
            where = f"in {len(places)} places of which different things become" if places else "nowhere"
            raise ModelError(
                f"the tensor {name} lies {where} in the ONNX file, so what becomes of it is not known",
                "export the ONNX file from this checkpoint, in the same precision and unquantised",
            )


def _some(names: list[str]) -> str:
    return ", ".join(names[:_MOST_NAMES]) + (
        f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    )
