"""Cut everything that can be cut out of one model, and compare each result with its masked original."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx

from graphprune.analysis.blocks import Block
from graphprune.analysis.groups import Group
from graphprune.analysis.model_analysis import ModelAnalysis
from graphprune.analysis.sizes import concrete_sizes
from graphprune.axes.algebra import Atom
from graphprune.errors import GraphpruneError, ModelError
from graphprune.ir.export import to_proto
from graphprune.ir.loading import load
from graphprune.ir.model import Model
from graphprune.rewrite import remove_blocks, remove_units
from graphprune.rewrite.removal import Removal
from graphprune.runtime.sessions import RuntimeOptions, open_model, open_session
from graphprune.runtime.sessions import run as run_session
from graphprune.validation.difference import relative_error
from graphprune.validation.masked_original import masked_original

RATIOS = (0.4, 0.75)
TOLERANCE = 1e-4
_OPTIONS = RuntimeOptions(threads=1)

Feed = dict[str, np.ndarray]
Kept = dict[Atom, np.ndarray]


@dataclass
class Survey:
    """What was found in one model, what was cut, and what went wrong."""

    groups: int = 0
    prunable: int = 0
    cuts: int = 0
    blocks: int = 0
    removals: int = 0
    worst_error: float = 0.0
    left: float = 1.0
    """Share of the parameters that is left when every group is cut as far as is tried."""
    idle: int = 0
    """Cuts that moved no output: checks that could not have failed."""
    in_double: int = 0
    """Checks that had to be made in double precision: a deep network of random weights blows rounding up."""
    failures: list[str] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def validated(self) -> int:
        return self.cuts + self.removals - len(self.failures)


def survey(
    source: Model | Path | onnx.ModelProto,
    feed: Feed,
    seed: int = 0,
    *,
    with_blocks: bool = True,
    few: int | None = None,
) -> Survey:
    """Every prunable group at both ratios, all groups at once at both, every removable block, all blocks at once.

    ``few``: of more groups or blocks than that, none is cut alone.
    """
    started = time.perf_counter()
    model = source if isinstance(source, Model) else load(source)
    sizes = concrete_sizes(model, feed, _OPTIONS)
    analysis = ModelAnalysis(model, sizes, {name: array.shape for name, array in feed.items()})
    found = Survey(groups=len(analysis.groups))
    names = [tensor.name for tensor in model.graph.outputs]
    whole = run_session(open_model(model, _OPTIONS), feed, names)
    free = [group for group in analysis.groups if group.is_prunable]
    found.prunable = len(free)
    found.refusals.update(group.freeze.reason for group in analysis.groups if group.freeze)
    found.missing.update(missing.op for missing in analysis.typing.missing)
    for label, kept in unit_plans(free, np.random.default_rng(seed)):
        if few is not None and len(kept) == 1 < len(free) > few:
            continue
        found.cuts += 1
        _check(found, label, Removal(model, typing=analysis.typing, kept=kept), feed, whole)
    blocks = [join.block for join in analysis.joins if join.block] if with_blocks else []
    found.blocks = len(blocks)
    for chosen in block_plans(blocks):
        if few is not None and len(chosen) == 1 < len(blocks) > few:
            continue
        found.removals += 1
        _check(found, " ".join(block.name for block in chosen), Removal(model, chosen), feed, whole)
    found.seconds = time.perf_counter() - started
    return found


def unit_plans(groups: Sequence[Group], random: np.random.Generator) -> Iterator[tuple[str, Kept]]:
    """Each group by itself and all together; at least one unit goes, and as many stay as the group can do with."""
    for ratio in RATIOS:
        together: Kept = {}
        for group in groups:
            gone = random.permutation(group.size)[: max(1, min(group.size - group.least, round(ratio * group.size)))]
            together[group.atom] = np.isin(np.arange(group.size), gone, invert=True)
            yield f"{group.name} {ratio:.0%}", {group.atom: together[group.atom]}
        if len(groups) > 1:
            yield f"all groups {ratio:.0%}", together


def block_plans(blocks: Sequence[Block]) -> Iterator[tuple[Block, ...]]:
    """Each block by itself, and all together."""
    yield from ((block,) for block in blocks)
    if len(blocks) > 1:
        yield tuple(blocks)


def error_in_double(masked: onnx.ModelProto, small: onnx.ModelProto, feed: Feed) -> float | None:
    """The difference of their outputs, computed by PyTorch in double precision; None where that cannot be."""
    import torch

    from graphprune.torch_bridge import to_torch

    given = [torch.from_numpy(array) for array in feed.values()]
    given = [tensor.double() if tensor.is_floating_point() else tensor for tensor in given]
    outputs = []
    for proto in (masked, small):
        try:
            module = to_torch(proto).double().eval()
        except ModelError:
            return None
        with torch.no_grad():
            found = module(*given)
        outputs.append([tensor.numpy() for tensor in (found if isinstance(found, tuple | list) else (found,))])
    return max(relative_error(one, two) for one, two in zip(*outputs, strict=True))


def _check(found: Survey, label: str, step: Removal, feed: Feed, whole: Sequence[np.ndarray]) -> None:
    """Note how far the rewritten model is from its masked original; exceptions are failures too."""
    names = [tensor.name for tensor in step.model.graph.outputs]
    try:
        if step.typing is None:
            small = to_proto(remove_blocks(step.model, step.blocks))
        else:
            small = to_proto(remove_units(step.model, step.typing, step.kept))
        if not any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in small.graph.initializer):
            onnx.checker.check_model(small)  # of a large model the weights stay where they are, and it has no path
        if step.typing is not None:
            found.left = min(found.left, _parameters(small) / _parameters(to_proto(step.model)))
        masked = masked_original(step)
        expected = run_session(open_session(masked, _OPTIONS, step.model.folder), feed, names)
        results = run_session(open_session(small, _OPTIONS, step.model.folder), feed, names)
        error = max(relative_error(one, two) for one, two in zip(expected, results, strict=True))
        if not error <= TOLERANCE and (exact := error_in_double(masked, small, feed)) is not None:
            found.in_double, error = found.in_double + 1, exact
    except (GraphpruneError, onnx.checker.ValidationError, AssertionError, KeyError, IndexError, ValueError) as problem:
        found.failures.append(f"{label}: {type(problem).__name__}: {problem}")
        return
    found.idle += not any(relative_error(one, two) for one, two in zip(whole, results, strict=True))
    found.worst_error = max(found.worst_error, error)
    if not error <= TOLERANCE:
        found.failures.append(f"{label}: differs by {error:.2g}")


def _parameters(proto: onnx.ModelProto) -> int:
    return sum(int(np.prod(tensor.dims)) for tensor in proto.graph.initializer if len(tensor.dims))
