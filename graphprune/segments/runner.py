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
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import onnx

from graphprune.analysis.blocks import Block
from graphprune.analysis.dataflow import DataFlow
from graphprune.base import extras
from graphprune.ir.model import Model
from graphprune.runtime.sessions import Feeds, RuntimeOptions, failing_in_a_sentence, open_session
from graphprune.segments.partition import Segment, cut, extract, wire

Environment = dict[str, Any]
"""Tensor name -> OrtValue."""


class Segments:
    """The sessions of one model, cut at ``blocks``; ``targets`` are the tensors whose values are asked for.

    Sessions are opened when first needed. ``origin`` are those of the network as given, where this one has come out of it with
    other weights.
    """

    def __init__(self, model: Model, blocks: Sequence[Block], targets: Sequence[str], options: RuntimeOptions) -> None:
        view = DataFlow(model)
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
        value = extras.onnxruntime().OrtValue
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
