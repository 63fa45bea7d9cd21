"""What the network says without each single unit: silenced where it is summed over, and what follows is run again."""

from __future__ import annotations

from collections import ChainMap, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

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
from graphprune.importance.divergence import StreamedDivergence
from graphprune.ir.bodies import all_nodes
from graphprune.ir.model import Model
from graphprune.runtime.sessions import RuntimeOptions
from graphprune.segments.cuts import at_layers
from graphprune.segments.in_order import in_order
from graphprune.segments.partition import Segment, partition
from graphprune.segments.runner import Environment, Segments, SessionChain


@dataclass(frozen=True)
class _Place:
    """A tensor that a layer sums over, and which unit of the group each index of its ``axis`` belongs to (-1: none)."""

    tensor: str
    axis: int
    units: NDArray[np.intp]

    def without(self, values: np.ndarray, unit: int) -> np.ndarray:
        keep = (self.units != unit).reshape([-1 if axis == self.axis else 1 for axis in range(values.ndim)])
        return values * keep.astype(values.dtype)


def silenceable(model: Model, typing: Typing, groups: Sequence[Group]) -> list[Group]:
    """The groups of which all that is summed over can be got at between two layers."""
    written = {tensor for segment in _at_layers(model, ()) for tensor in segment.writes}
    found = [(group, _places(model, typing, group)) for group in groups]
    return [group for group, places in found if places and all(place.tensor in written for place in places)]


def silenced_divergences(
    model: Model,
    typing: Typing,
    groups: Sequence[Group],
    logits: Representation,
    data: Data,
    batch: int,
    options: RuntimeOptions,
    progress: Callable[[int, int], None],
) -> list[NDArray[np.float64]]:
    """``KL(p || p_u)`` (size,) in nats of every unit u of every group, the mean over the rows of ``logits``.

    p is the softmax of the network's logits and p_u that of the network without u. For each batch the network runs
    once, and what follows the layers that read u once more for each u. ``progress`` is told how many of these runs are
    done, and of how many, as far as the number of samples is known.

    Raises
    ------
    DataError
        As :meth:`graphprune.data.dataset.Data.batches`, or the logits are not finite.
    """
    targets = [logits.tensor]
    segments = Segments(SessionChain.of(model, _at_layers(model, targets), options), targets, model)
    places = [_places(model, typing, group) for group in groups]
    units = [(own, unit) for group, own in zip(groups, places, strict=True) for unit in range(group.size)]
    comparison = StreamedDivergence()
    threads = options.thread_count
    runs = len(units) * max(1, -(-(data.limit or 0) // batch))
    done = 0
    with ThreadPoolExecutor(threads) as pool:
        for part in data.batches(batch):
            env = segments.run(part.feeds)
            comparison.reference(_features(logits, env))
            changed = in_order(pool, lambda asked, env=env: _without(segments, env, *asked), units, 2 * threads)
            for index, values in enumerate(changed):
                comparison.candidate(index, _features(logits, values))
                done += 1
                progress(done, runs)
    if not comparison.is_informative:
        raise DataError(f"the logits '{logits.tensor}' of {data.origin} are not finite", "look for NaN in the data")
    scores = np.array([comparison.result(index)[0] for index in range(len(units))])
    return np.split(scores, np.cumsum([group.size for group in groups])[:-1])


def _at_layers(model: Model, targets: Sequence[str]) -> list[Segment]:
    flow = model.derived(DataFlow)
    return partition(flow, at_layers(flow), targets)


def _features(logits: Representation, values: Environment) -> NDArray[np.floating]:
    return logits.features(values[logits.tensor].numpy())


def _without(segments: Segments, env: Environment, places: Sequence[_Place], unit: int) -> Environment:
    """The targets as they would be with one unit silenced wherever it is summed over; ``env`` is of a whole run."""
    chain = segments.chain
    by_tensor: dict[str, list[_Place]] = defaultdict(list)
    for place in places:
        by_tensor[place.tensor].append(place)

    def silent(name: str, given: Any) -> Any:
        values = given.numpy()
        for place in by_tensor[name]:
            values = place.without(values, unit)
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
