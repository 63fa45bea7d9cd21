"""Ask "what comes out without block i?" for every i at the price of what follows block i.

The graph is cut at the entries and exits of the candidate blocks into segments, one single-threaded session each (many
thread pools in one process fight for the cores; callers run batches side by side instead). A batch runs through all of
them once and leaves its junction tensors in an environment; a candidate's question then re-runs only the
segments that its removal changes. Removing a block for good rebuilds nothing: its segment is skipped from then on.
Memory is the sessions (the model's weights once) plus the junctions of one batch.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import onnx
import onnx_graphsurgeon as gs

from graphprune import optional
from graphprune.model import Model, to_proto
from graphprune.runtime.sessions import Feeds, RuntimeOptions, failing_in_a_sentence, open_session
from graphprune.structure.blocks import Block
from graphprune.structure.view import View

Environment = dict[str, Any]
"""Tensor name -> OrtValue."""


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


class Segments:
    """The sessions of one model, cut at ``blocks``; ``targets`` are the tensors whose values are asked for.

    Sessions are opened when first needed. ``origin`` are those of the network as given, where this one has come out of it with
    other weights.
    """

    def __init__(self, model: Model, blocks: Sequence[Block], targets: Sequence[str], options: RuntimeOptions) -> None:
        view = View(model)
        segments = cut(view, blocks)
        wire(view, segments, targets)
        self._hold(segments, targets, options)
        self.model = model
        self.folder = model.folder

    def _hold(self, segments: Sequence[Segment], targets: Sequence[str], options: RuntimeOptions) -> None:
        self.segments = list(segments)
        self.targets = list(targets)
        self.options = replace(options, threads=1)
        self._lock = threading.Lock()
        self._is_open = False
        self.origin: Segments | None = None

    def open(self) -> None:
        """Open what is not open yet."""
        with self._lock:
            if not self._is_open:
                for segment in self.segments:
                    if segment.writes:
                        segment.session = open_session(self.proto(segment), self.options, self.folder)
                self._is_open = True

    def proto(self, segment: Segment) -> onnx.ModelProto:
        """One segment as a model of its own."""
        return extract(self.model, segment.nodes, segment.reads, segment.writes)

    def run(self, feeds: Feeds, removed: frozenset[str] = frozenset()) -> Environment:
        """Everything that any segment writes, with the blocks whose joins are in ``removed`` bypassed."""
        self.open()
        value = optional.onnxruntime().OrtValue
        env: Environment = {name: value.ortvalue_from_numpy(array) for name, array in feeds.items()}
        for segment in self.segments:
            if segment.block is not None and segment.block.join in removed:
                env[segment.block.exit] = env[segment.block.entry]
            elif segment.session is not None:
                started = time.perf_counter()
                env.update(self._run_segment(segment, {name: env[name] for name in segment.reads}))
                with self._lock:
                    segment.seconds += time.perf_counter() - started
        return env

    def without(self, env: Environment, block: Block, removed: frozenset[str] = frozenset()) -> Environment:
        """The targets as they would be without ``block`` as well; ``env`` is what :meth:`run` returned for ``removed``."""
        changed: Environment = {}
        for segment in self.segments:
            here = segment.block
            if here is not None and (here.join == block.join or here.join in removed):
                if here.join == block.join or here.entry in changed:
                    changed[here.exit] = changed.get(here.entry, env[here.entry])
            elif segment.session is not None and any(name in changed for name in segment.reads):
                changed.update(self._run_segment(segment, {n: changed.get(n, env[n]) for n in segment.reads}))
        return {name: changed.get(name, env[name]) for name in self.targets}

    def suffix_seconds(self, block: Block) -> float:
        """Time the full passes spent in the segments after ``block``."""
        position = next(i for i, s in enumerate(self.segments) if s.block is not None and s.block.join == block.join)
        return sum(segment.seconds for segment in self.segments[position + 1 :])

    def _run_segment(self, segment: Segment, inputs: Environment) -> Environment:
        with failing_in_a_sentence("check the data"):
            outputs = segment.session.run_with_ort_values(segment.writes, inputs)
        return dict(zip(segment.writes, outputs, strict=True))


def cut(view: View, blocks: Sequence[Block]) -> list[Segment]:
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


def wire(view: View, segments: Sequence[Segment], targets: Collection[str]) -> None:
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
