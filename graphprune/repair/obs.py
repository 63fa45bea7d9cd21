"""Units scored by what their readers lose without them, after being refitted: choice and repair by the same sums."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graphprune.analysis.dataflow import DataFlow
from graphprune.analysis.groups import Group
from graphprune.analysis.model_analysis import ModelAnalysis
from graphprune.axes import algebra
from graphprune.data.dataset import Data
from graphprune.importance.obs import Reader, removal_losses
from graphprune.ir.recurrent_states import RECURRENT
from graphprune.repair import matrices
from graphprune.repair.gram import HalvedSums
from graphprune.repair.moments import ChannelMoments
from graphprune.repair.places import places
from graphprune.repair.shrinkage import shrunk
from graphprune.repair.sites import RepairLayer, is_layer, site_of
from graphprune.runtime.blas import blas_threads, threads_for
from graphprune.runtime.sessions import RuntimeOptions
from graphprune.scoring.consumers import Consumer, consumers
from graphprune.segments.capture import capture

_MEMORY_LIMIT_BYTES = 1 << 30

Losses = NDArray[np.float64]


def obs_losses(
    analysis: ModelAnalysis,
    groups: Sequence[Group],
    data: Data,
    batch: int,
    options: RuntimeOptions,
    progress: Callable[[int], None],
) -> list[Losses]:
    """For each group the losses (size,) of :func:`removal_losses`,
    as a share of the variance of the streams that its readers write to.

    Groups are taken together as far as their sums fit the memory, one pass over the data for each such part. For
    each of them :func:`can_refit_readers`.
    """
    flow = analysis.flow
    scored: list[Losses] = []
    for part in _parts(analysis, flow, groups):
        widest = max((reading.shape[1] for readers in part for reading in readers), default=0)
        with blas_threads(threads_for(widest, options.thread_count)):
            seen = _seen(analysis, [reader for readers in part for reader in readers], data, batch, options)
            for group, readers in zip(groups[len(scored) :], part, strict=False):
                progress(len(scored))
                scored.append(_losses(analysis, group, readers, seen))
    return scored


def can_refit_readers(analysis: ModelAnalysis, group: Group) -> bool:
    """Whether layers that read ``group`` can be refitted, so that its losses are known.

    A recurrent layer cannot, and what it would lose must not count for nothing.
    """
    nodes = analysis.flow.nodes
    is_recurrent = any(name in nodes and nodes[name].op in RECURRENT for name in group.readers)
    return not is_recurrent and bool(_refittable(analysis, group))


def _refittable(analysis: ModelAnalysis, group: Group) -> list[Consumer]:
    return [
        consumer
        for consumer in consumers(analysis.model, analysis.typing, group)
        if consumer.operand == 1 and is_layer(consumer.node)
    ]


class _Reading:
    """A layer that reads a group. What it does wrong matters as far as the residual ``stream`` behind it is changed."""

    def __init__(self, analysis: ModelAnalysis, flow: DataFlow, consumer: Consumer) -> None:
        self.consumer = consumer
        self.site: RepairLayer = site_of(flow, consumer.node, analysis.sizes)
        self.shape = matrices.shape_of(consumer.node)
        self.stream = self.site.join or self.site.exit

    @property
    def memory_bytes(self) -> int:
        groups, inputs, _ = self.shape
        return HalvedSums.memory_bytes(groups, inputs, 0)


def _parts(analysis: ModelAnalysis, flow: DataFlow, groups: Sequence[Group]) -> Iterator[list[list[_Reading]]]:
    """The readers of each group, in parts that fit the memory."""
    part: list[list[_Reading]] = []
    used = 0
    for group in groups:
        found = [_Reading(analysis, flow, consumer) for consumer in _refittable(analysis, group)]
        need = sum(reading.memory_bytes for reading in found)
        if part and used + need > _MEMORY_LIMIT_BYTES:
            yield part
            part, used = [], 0
        part.append(found)
        used += need
    yield part


@dataclass
class _Seen:
    """Of one layer: sums over what it reads, and over the stream (channels,) it writes to."""

    inputs: HalvedSums
    stream: ChannelMoments


def _seen(
    analysis: ModelAnalysis, readings: Sequence[_Reading], data: Data, batch: int, options: RuntimeOptions
) -> dict[str, _Seen]:
    """Node -> what the data show of it."""
    layers = {reading.consumer.node.name: reading for reading in readings}
    seen = {name: _Seen(HalvedSums(*reading.shape[:2], 0), ChannelMoments()) for name, reading in layers.items()}
    random = np.random.default_rng(0)
    tensors = [tensor for reading in layers.values() for tensor in (reading.site.reads, reading.stream)]
    for part, values in capture(analysis.model, tensors, data, batch, options):
        batches = -(-(data.limit or len(part)) // len(part))
        for name, reading in layers.items():
            x, stream = values[reading.site.reads], np.moveaxis(values[reading.stream], reading.site.axis, -1)
            chosen = places((len(x), *stream.shape[1:]), reading.shape[1], batches, random)
            rows = matrices.rows(reading.consumer.node, x, chosen, np.float32)  # far below the damping
            seen[name].inputs.add(rows, rows[..., :0], len(x))
            seen[name].stream.add(values[reading.stream], reading.site.axis)
    return seen


def _losses(analysis: ModelAnalysis, group: Group, readings: Sequence[_Reading], seen: dict[str, _Seen]) -> Losses:
    """Losses of one group, as a share of the variance of the streams that its readers write to."""
    readers, variance = [], 0.0
    for reading in readings:
        node, own = reading.consumer.node, seen[reading.consumer.node.name]
        groups, inputs, _ = reading.shape
        variance += float(np.sum(own.stream.deviation**2))
        weights = matrices.exit_matrix(analysis.model, node, reading.site.scale)
        gram = shrunk(own.inputs, is_centred=reading.site.bias is not None)
        axes = analysis.typing.of(node, 0)
        assert axes is not None  # the consumer was found by them
        owner = algebra.positions_of(axes[reading.consumer.place], group.atom)
        owners = np.repeat(owner.reshape(groups, -1), inputs // (len(owner) // groups), axis=1)
        for index in range(groups):
            if (owners[index] >= 0).any():
                readers.append(Reader(gram[index], weights[index], owners[index], group.size))
    return removal_losses(readers, group.size) / (variance or 1.0)
