"""A network cut into segments: contiguous parts of the computation, each a model of its own."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import onnx
import onnx_graphsurgeon as gs

from graphprune.analysis.blocks import Block
from graphprune.analysis.dataflow import DataFlow
from graphprune.ir.export import to_proto
from graphprune.ir.model import Model


@dataclass
class Segment:
    """A contiguous part of the computation: a candidate block, or what lies between two of them."""

    nodes: list[str]
    block: Block | None
    reads: list[str] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)
    session: Any = None
    seconds: float = 0.0
    """Total run time of the full passes (not of the re-runs): the floor that scoring is compared with."""


def cut(view: DataFlow, blocks: Sequence[Block]) -> list[Segment]:
    """Order: nodes that need no block, block 0, nodes that need at most block 0, block 1, and so on."""
    ordered = sorted(blocks, key=lambda block: view.order[block.join])
    owner = {name: index for index, block in enumerate(ordered) for name in block.nodes}
    level: dict[str, int] = {}
    between: list[list[str]] = [[] for _ in range(len(ordered) + 1)]
    for name in view.nodes:  # in topological order
        before = [view.producer[tensor] for tensor in view.data_reads(name) if tensor in view.producer]
        level[name] = max((owner[p] + 1 if p in owner else level[p] for p in before), default=0)
        if name not in owner:
            between[level[name]].append(name)
    segments = [Segment(between[0], None)]
    for index, block in enumerate(ordered):
        segments.append(Segment(list(block.nodes), block))
        segments.append(Segment(between[index + 1], None))
    return [segment for segment in segments if segment.nodes]


def wire(view: DataFlow, segments: Sequence[Segment], targets: Collection[str]) -> None:
    """Note for each of ``segments``, which cover the model, what it reads from others and what others or ``targets`` need."""
    place = {name: index for index, segment in enumerate(segments) for name in segment.nodes}
    for index, segment in enumerate(segments):
        reads = dict.fromkeys(tensor for name in segment.nodes for tensor in view.data_reads(name))
        segment.reads = [tensor for tensor in reads if place.get(view.producer.get(tensor, "")) != index]
        written = [tensor.name for name in segment.nodes for tensor in view.nodes[name].outputs if tensor.name]
        segment.writes = [
            tensor
            for tensor in written
            if tensor in targets or any(place[reader] != index for reader in view.readers.get(tensor, ()))
        ]


def extract(model: Model, nodes: Collection[str], reads: Sequence[str], writes: Sequence[str]) -> onnx.ModelProto:
    """A model of some nodes alone: inputs ``reads``, outputs ``writes``."""
    members = set(nodes)
    inside = [node for node in model.graph.nodes if node.name in members]
    proto = to_proto(replace(model, graph=gs.Graph(nodes=inside)))  # the same nodes: exporting changes nothing
    for values, names in ((proto.graph.input, reads), (proto.graph.output, writes)):
        del values[:]
        for name in names:
            dtype = model.dtypes.get(name, onnx.TensorProto.FLOAT)
            values.append(onnx.helper.make_tensor_value_info(name, dtype, model.shapes.get(name)))
    return proto
