"""How a model takes its inputs: which axes count samples, and sizes for free axes. Tried where symbols do not tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from graphprune.axes.probe import follow
from graphprune.data.batching import Arrays, Batching
from graphprune.data.dataset import input_specs
from graphprune.data.made_up import Ranges, Shapes, check_given, made_up
from graphprune.data.symbols import guesses
from graphprune.decoder.interface import decoder_interface
from graphprune.errors import DataError, ModelError
from graphprune.ir.model import Model
from graphprune.run.sizes import completed, free_axes
from graphprune.runtime.sessions import RuntimeOptions, open_model, run

_TOLERANCE = 1e-3  # of the largest value, between runs of one sample and of two
_LONGEST = 6  # names in a message; of more, so many are said:
_NAMED = 4


@dataclass(frozen=True)
class InputLayout:
    """``shapes`` are sizes of every input that are known to work; None where nothing asked for them.

    ``picked`` are those of them that nobody has given.
    """

    batching: Batching
    shapes: Mapping[str, tuple[int, ...]] | None
    picked: tuple[str, ...] = ()

    @property
    def note(self) -> str:
        """What was picked, in words; empty if nothing."""
        if not self.picked or self.shapes is None:
            return ""
        sizes = [f"{name} {'x'.join(map(str, self.shapes[name])) or 'a scalar'}" for name in self.picked]
        return f"sizes of free axes were picked: {_few(sizes)}; --input-shapes asks for others"


def input_layout(
    model: Model,
    axes: Mapping[str, int | None],
    shapes: Shapes,
    ranges: Ranges,
    runtime: RuntimeOptions,
    *,
    needs_shapes: bool,
) -> InputLayout:
    """What is known of the inputs of ``model``; ``axes``, ``shapes`` and ``ranges`` are what the user said of them.

    Raises
    ------
    DataError
        ``needs_shapes``, and there are none with which the model runs.
    OptionError
        ``axes`` names what the model does not have.
    """
    specs = input_specs(model)
    check_given(specs, shapes, ranges)
    found = guesses(specs, axes)
    is_settled = len(found.candidates) == 1
    if is_settled and not needs_shapes:
        return InputLayout(found.candidates[0], None)
    trial = _Trial(model, shapes, ranges, runtime, small_first=not needs_shapes)
    candidates = found.candidates if is_settled or trial.is_possible else (found.untried,)
    for batching in candidates:
        sizes = trial.sizes(batching)
        if sizes is not None and (len(candidates) == 1 or trial.keeps_samples_apart(batching, sizes)):
            picked = dict.fromkeys(name for name, _ in free_axes(specs, batching, shapes))
            return InputLayout(batching, sizes, tuple(picked))
    if not needs_shapes:
        return InputLayout(found.untried, None)
    free = [f"{name} axis {axis}" for name, axis in free_axes(specs, found.untried, shapes)]
    where = f" for the free axes ({_few(free)})" if free else ""
    raise DataError(
        f"no sizes were found{where} with which the model runs; {trial.reason or 'it was not run'}",
        "give --input-shapes NAME:SIZES, or --data",
    )


def _few(names: list[str]) -> str:
    """A list that stays readable where a cache brings two inputs for each layer."""
    return ", ".join(names) if len(names) <= _LONGEST else f"{', '.join(names[:_NAMED])} and {len(names) - _NAMED} more"


class _Trial:
    """Runs a model on made-up inputs; its session is opened when it is first run."""

    def __init__(
        self, model: Model, shapes: Shapes, ranges: Ranges, runtime: RuntimeOptions, *, small_first: bool
    ) -> None:
        self._model, self._given, self._ranges, self._runtime = model, shapes, ranges, runtime
        self._small_first = small_first
        self.reason, self.ran = "", False

    @cached_property
    def _session(self) -> Any:
        """None where the runtime cannot open the model: then nothing is tried."""
        try:
            return open_model(self._model, self._runtime)
        except ModelError as error:
            self.reason = error.message
            return None

    @property
    def is_possible(self) -> bool:
        """Whether the runtime opens the model."""
        return self._session is not None

    def sizes(self, batching: Batching) -> dict[str, tuple[int, ...]] | None:
        """Sizes of all inputs with which the model runs, as far as inference does not tell; those given are not tried.

        Where the runtime cannot open the model, the likeliest.
        """
        specs, likeliest = input_specs(self._model), None
        is_open = bool(free_axes(specs, batching, self._given))
        decoder = decoder_interface(self._model)
        for shapes in completed(specs, batching, self._given, small_first=self._small_first, decoder=decoder):
            if (
                not is_open
                or self._is_told(shapes)
                or not self.is_possible
                or self._runs(self._feeds(batching, shapes, 0))
            ):
                return shapes
            likeliest = likeliest or (shapes if self.ran else None)
        return likeliest  # it ran, but gave nothing: what else it is given decides that

    def _is_told(self, shapes: Shapes) -> bool:
        """Whether inference gives every tensor a size, none of them 0: then nothing of a large model need be run."""
        found = follow(self._model, shapes, {}).shapes
        produced = [tensor.name for node in self._model.graph.nodes for tensor in node.outputs if tensor.name]
        return all(name in found and 0 not in found[name] for name in produced)

    def keeps_samples_apart(self, batching: Batching, shapes: Shapes) -> bool:
        """Whether two samples in one run give what they give in runs of their own; for one sample, whether it runs."""
        if batching.size is not None:
            return self._runs(self._feeds(batching, shapes, 0))
        one, other = (self._feeds(batching, shapes, seed) for seed in (0, 1))
        other = {name: one[name] if batching.axis(name) is None else array for name, array in other.items()}
        parts = [self._outputs(feeds) for feeds in (one, other, batching.join([one, other]))]
        return all(part is not None for part in parts) and _are_joined(*parts)  # type: ignore[arg-type]

    def _feeds(self, batching: Batching, shapes: Shapes, seed: int) -> Arrays:
        samples = batching.size or 1
        return made_up(self._model, np.random.default_rng(seed), samples, shapes, self._ranges, batching)

    def _runs(self, feeds: Arrays) -> bool:
        outputs = self._outputs(feeds)
        self.ran = outputs is not None
        return outputs is not None and all(array.size for array in outputs if isinstance(array, np.ndarray))

    def _outputs(self, feeds: Arrays) -> list[np.ndarray] | None:
        try:
            return run(self._session, feeds)
        except ModelError as error:
            self.reason = error.message
            return None


def _are_joined(one: list[np.ndarray], other: list[np.ndarray], both: list[np.ndarray]) -> bool:
    """Whether each output of the two samples is those of each in a row, or the same for all."""
    found = [_join_axis(*arrays) for arrays in zip(one, other, both, strict=True)]
    return None not in found and any(axis is not None and axis >= 0 for axis in found)


def _join_axis(one: np.ndarray, other: np.ndarray, both: np.ndarray) -> int | None:
    """The axis along which ``both`` is one and the other; -1 where all three are alike; None where it is neither."""
    if _alike(one, both) and _alike(other, both):
        return -1
    if one.ndim != both.ndim or one.ndim != other.ndim:
        return None
    for axis in range(both.ndim):
        rest = [array.shape[:axis] + array.shape[axis + 1 :] for array in (one, other, both)]
        if rest[0] == rest[1] == rest[2] and _alike(np.concatenate([one, other], axis), both):
            return axis
    return None


def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    if one.shape != other.shape:
        return False
    if one.dtype.kind not in "fiub":
        return bool(np.array_equal(one, other))
    a, b = one.astype(np.float64), other.astype(np.float64)
    scale = float(np.abs(a[np.isfinite(a)]).max(initial=0.0))
    return bool(np.allclose(a, b, rtol=0.0, atol=_TOLERANCE * scale, equal_nan=True))
