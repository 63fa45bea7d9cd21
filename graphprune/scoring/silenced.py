"""What the network says without each single unit: silenced where it is summed over, and what follows is run again."""

from __future__ import annotations

from collections import ChainMap, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from graphprune.analysis.dataflow import DataFlow
from graphprune.analysis.groups import Group
from graphprune.analysis.representation import Representation
from graphprune.axes import algebra
from graphprune.axes.typing import Typing
from graphprune.base import extras
from graphprune.data.dataset import Data
from graphprune.errors import DataError
from graphprune.ir.bodies import all_nodes
from graphprune.ir.model import Model
from graphprune.runtime.blas import one_blas_thread
from graphprune.runtime.sessions import RuntimeOptions
from graphprune.scoring.blocks import FeatureComparison
from graphprune.segments.cuts import at_layers
from graphprune.segments.in_order import in_order
from graphprune.segments.partition import Segment, partition
from graphprune.segments.runner import Environment, Segments, SessionChain

R = TypeVar("R")


@dataclass(frozen=True)
class _Place:
    """A tensor that a layer sums over, and which unit of the group each index of its ``axis`` belongs to (-1: none)."""

    tensor: str
    axis: int
    units: NDArray[np.intp]

    def without(self, values: np.ndarray, unit: int) -> np.ndarray:
        keep = (self.units != unit).reshape([-1 if axis == self.axis else 1 for axis in range(values.ndim)])
        silent: np.ndarray = values * keep.astype(values.dtype)
        return silent


class _Question(NamedTuple):
    """What becomes of the network without one unit of the group that is summed over at ``places``."""

    places: Sequence[_Place]
    unit: int


def silenceable(model: Model, typing: Typing, groups: Sequence[Group]) -> list[Group]:
    """The groups of which all that is summed over can be got at between two layers."""
    written = {tensor for segment in _at_layers(model, ()) for tensor in segment.writes}
    found = [(group, _places(model, typing, group)) for group in groups]
    return [group for group, places in found if places and all(place.tensor in written for place in places)]


def compared_without(
    model: Model,
    typing: Typing,
    groups: Sequence[Group],
    seen: Representation,
    data: Data,
    batch: int,
    options: RuntimeOptions,
    make: Callable[[], FeatureComparison[R]],
    progress: Callable[[int, int], None],
) -> list[list[R]]:
    """For every unit of every group what a comparison says of the network with it and without, on all of ``data``.

    ``seen`` is what they are compared by. For each batch the network runs once, and what follows the layers that read
    a unit once more for each unit. ``progress`` is told how many of these runs are done, and of how many, as far as the
    number of samples is known.

    Raises
    ------
    DataError
        As :meth:`graphprune.data.dataset.Data.batches`, or nothing can be told from the data.
    """
    targets = [seen.tensor]
    segments = Segments(SessionChain.of(model, _at_layers(model, targets), options), targets, model)
    places = [_places(model, typing, group) for group in groups]
    units = [_Question(own, unit) for group, own in zip(groups, places, strict=True) for unit in range(group.size)]
    comparison = make()
    threads = options.thread_count
    runs = len(units) * max(1, -(-(data.limit or 0) // batch))
    done = 0
    with ThreadPoolExecutor(threads) as pool, one_blas_thread():
        for part in data.batches(batch):
            env = segments.run(part.feeds)
            comparison.reference(_features(seen, env), part.labels)
            changed = in_order(pool, partial(_without, segments, env), units, 2 * threads)
            for index, values in enumerate(changed):
                comparison.candidate(index, _features(seen, values))
                done += 1
                progress(done, runs)
    if not comparison.is_informative or comparison.rows < comparison.least_rows:
        raise DataError(
            f"{data.origin} says nothing of '{seen.tensor}': it gives {comparison.rows} rows, {comparison.least_rows} "
            "are needed, which differ and are finite",
            "give other or more data",
        )
    results = [comparison.result(index) for index in range(len(units))]
    ends = np.cumsum([group.size for group in groups]).tolist()
    return [results[end - group.size : end] for group, end in zip(groups, ends, strict=True)]


def _at_layers(model: Model, targets: Sequence[str]) -> list[Segment]:
    flow = model.derived(DataFlow)
    return partition(flow, at_layers(flow), targets)


def _features(seen: Representation, values: Environment) -> NDArray[np.floating]:
    return seen.features(values[seen.tensor].numpy())


def _without(segments: Segments, env: Environment, asked: _Question) -> Environment:
    """The targets as they would be with one unit silenced wherever it is summed over; ``env`` is of a whole run."""
    chain = segments.chain
    by_tensor: dict[str, list[_Place]] = defaultdict(list)
    for place in asked.places:
        by_tensor[place.tensor].append(place)

    def silent(name: str, given: Any) -> Any:
        values = given.numpy()
        for place in by_tensor[name]:
            values = place.without(values, asked.unit)
        return extras.onnxruntime().OrtValue.ortvalue_from_numpy(values)

    changed: Environment = {name: silent(name, env[name]) for name in list(by_tensor)}
    for index, segment in enumerate(chain.segments):
        if any(name in changed for name in segment.reads):
            written, _ = chain.run_segment(index, ChainMap(changed, env))
            changed.update({name: silent(name, each) if name in by_tensor else each for name, each in written.items()})
        for name in [each for each in changed if chain.last_reader.get(each, -1) <= index]:
            if name not in segments.targets:
                del changed[name]
    return {name: changed.get(name, env[name]) for name in segments.targets}


def _places(model: Model, typing: Typing, group: Group) -> list[_Place]:
    """Where the group is summed over, once for each tensor and axis."""
    nodes = {node.name: node for node in all_nodes(model.graph)}
    found: dict[tuple[str, int], _Place] = {}
    for contraction in typing.contractions:
        node = nodes[contraction.node]
        axes = typing.of(node, contraction.operand)
        if axes is None or group.atom not in set(algebra.atoms_of(axes[contraction.axis])):
            continue
        tensor = node.inputs[contraction.operand]
        if not isinstance(tensor, gs.Constant):  # weights go with what is multiplied with them
            units = algebra.positions_of(axes[contraction.axis], group.atom)
            found[tensor.name, contraction.axis] = _Place(tensor.name, contraction.axis, units)
    return list(found.values())
