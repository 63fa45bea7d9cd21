"""Segments of one network run one after another; and "what comes out without block i?" at the price of what follows
block i.

Each segment has a single-threaded session of its own: many thread pools in one process fight for the cores,
so callers run batches side by side instead. A batch runs through all segments once and leaves what they write in an
environment. Cut at the entries and exits of candidate blocks, a candidate's question re-runs only the segments that its
removal changes. Removing a block for good rebuilds nothing: its segment is skipped from then on. Memory is the sessions
(the model's weights once) plus the environment of one batch.
"""

from __future__ import annotations

import functools
import threading
import time
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx

from graphprune.analysis.blocks import Block
from graphprune.analysis.dataflow import DataFlow
from graphprune.base import extras
from graphprune.ir.export import extract
from graphprune.ir.input_origins import fed_to
from graphprune.ir.model import Model
from graphprune.runtime.sessions import Feeds, RuntimeOptions, failing_in_a_sentence, open_session
from graphprune.segments.cuts import at_blocks
from graphprune.segments.gates import gated
from graphprune.segments.partition import Segment, partition

Environment = dict[str, Any]
"""Tensor name -> OrtValue."""


def open_segment(model: Model, segment: Segment, options: RuntimeOptions) -> Any:
    """A session of a segment of ``model`` alone."""
    return open_session(lambda: segment_proto(model, segment), options, model.folder)


def segment_proto(model: Model, segment: Segment) -> onnx.ModelProto:
    """A segment of ``model`` as a model of its own."""
    return extract(model, segment.nodes, segment.reads, segment.writes)


class SessionChain:
    """The sessions of ``segments``, opened when first needed; ``proto`` makes a model of one of them.

    ``folder`` is where the external data of these models lies. ``fed`` makes of what the whole is given what it takes.
    ``gates`` are those of blocks in bodies, see :mod:`graphprune.segments.gates`.
    """

    def __init__(
        self,
        segments: Sequence[Segment],
        proto: Callable[[Segment], onnx.ModelProto],
        options: RuntimeOptions,
        folder: Path | None,
        fed: Callable[[Feeds], Feeds] = dict,
        gates: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.segments = tuple(segments)
        self.proto = proto
        self.options = replace(options, threads=1)
        self.folder = folder
        self.gates = dict(gates)
        self._fed = fed
        self._lock = threading.Lock()
        self._sessions: list[Any] | None = None

    @classmethod
    def of(
        cls,
        model: Model,
        segments: Sequence[Segment],
        options: RuntimeOptions,
        gates: Mapping[str, str] = MappingProxyType({}),
    ) -> SessionChain:
        """The segments of a model that is at hand."""
        proto = functools.partial(segment_proto, model)
        return cls(segments, proto, options, model.folder, functools.partial(fed_to, model), gates)

    def open(self) -> list[Any]:
        """The session of each segment, None for one that writes nothing."""
        with self._lock:
            if self._sessions is None:
                self._sessions = [self._opened(segment) for segment in self.segments]
            return self._sessions

    def _opened(self, segment: Segment) -> Any:
        if not segment.writes:
            return None
        return open_session(lambda: self.proto(segment), self.options, self.folder, keeps_memory=False)

    @cached_property
    def last_reader(self) -> dict[str, int]:
        """Tensor -> the last segment that reads it; the entry of a block its own does at least."""
        last = {name: index for index, segment in enumerate(self.segments) for name in segment.reads}
        for index, segment in enumerate(self.segments):
            if segment.block is not None:
                last[segment.block.entry] = max(index, last.get(segment.block.entry, -1))
        return last

    def run(self, feeds: Feeds, removed: frozenset[str] = frozenset()) -> tuple[Environment, list[float]]:
        """Everything that any segment writes, with the blocks whose joins are in ``removed`` bypassed;
        milliseconds of each segment.
        """
        env: Environment = {}
        times_ms = list(self.steps(env, feeds, removed))
        return env, times_ms

    def steps(self, env: Environment, feeds: Feeds, removed: frozenset[str] = frozenset()) -> Iterator[float]:
        """As :meth:`run`, segment by segment: what each writes is put into ``env``, from which whoever asks may take
        what no later segment reads; yields its milliseconds.
        """
        value = extras.onnxruntime().OrtValue
        env.update({name: value.ortvalue_from_numpy(array) for name, array in self._fed(feeds).items()})
        env.update({gate: _set(is_open=join not in removed) for join, gate in self.gates.items()})
        for index, segment in enumerate(self.segments):
            if segment.block is not None and segment.block.join in removed:
                env.update(_bypassed(segment, env[segment.block.entry]))
                yield 0.0
            else:
                written, elapsed_ms = self.run_segment(index, env)
                env.update(written)
                yield elapsed_ms

    def run_segment(self, index: int, env: Mapping[str, Any]) -> tuple[Environment, float]:
        """What a segment makes of what it reads in ``env``, and its milliseconds; nothing and 0 if nobody needs it."""
        session, segment = self.open()[index], self.segments[index]
        if session is None:
            return {}, 0.0
        inputs = {name: env[name] for name in segment.reads}
        started = time.perf_counter_ns()
        with failing_in_a_sentence("check the data"):
            outputs = session.run_with_ort_values(list(segment.writes), inputs)
        elapsed_ms = (time.perf_counter_ns() - started) / 1e6
        return dict(zip(segment.writes, outputs, strict=True)), elapsed_ms


def _set(*, is_open: bool) -> Any:
    return extras.onnxruntime().OrtValue.ortvalue_from_numpy(np.array(is_open))


def _bypassed(segment: Segment, entry: Any) -> Environment:
    """What the segment of a removed block hands on: its entry, with zeros where that is narrower than the exit;
    to a join that stays, zeros alone.
    """
    block, value = segment.block, extras.onnxruntime().OrtValue
    assert block is not None
    if block.keeps_join:
        return dict.fromkeys(segment.writes, value.ortvalue_from_numpy(np.zeros_like(entry.numpy())))
    if block.pads:
        before, behind = np.split(np.array(block.pads), 2)
        return {block.exit: value.ortvalue_from_numpy(np.pad(entry.numpy(), list(zip(before, behind, strict=True))))}
    return {block.exit: entry}


class Segments:
    """A chain cut at candidate blocks; ``targets`` are the tensors whose values are asked for.

    ``origin`` are the segments of the network as given, where this one has come out of it with other weights;
    ``seconds`` is the total run time of each segment in the full passes (not in the re-runs):
    the floor that scoring is compared with.
    """

    def __init__(self, chain: SessionChain, targets: Sequence[str], model: Model | None = None) -> None:
        self.chain = chain
        self.targets = list(targets)
        self.model = model
        self.origin: Segments | None = None
        self.seconds = [0.0] * len(chain.segments)
        self._lock = threading.Lock()

    @classmethod
    def at_blocks(
        cls, model: Model, blocks: Sequence[Block], targets: Sequence[str], options: RuntimeOptions
    ) -> Segments:
        """The segments of a model that is at hand, each of ``blocks`` one of them but for those in bodies."""
        inner = [block for block in blocks if block.join not in model.derived(DataFlow).nodes]
        given, gates = gated(model, inner) if inner else (model, {})
        flow = given.derived(DataFlow)
        outer = [block for block in blocks if block.join not in gates]
        exits = [block.exit for block in outer]
        found = partition(flow, at_blocks(flow, outer, targets), {*targets, *exits})
        return cls(SessionChain.of(given, found, options, gates), targets, model)

    def run(self, feeds: Feeds, removed: frozenset[str] = frozenset()) -> Environment:
        """Everything that any segment writes, with the blocks whose joins are in ``removed`` bypassed."""
        env, times_ms = self.chain.run(feeds, removed)
        with self._lock:
            self.seconds = [total + each / 1e3 for total, each in zip(self.seconds, times_ms, strict=True)]
        return env

    def without(self, env: Environment, block: Block, removed: frozenset[str] = frozenset()) -> Environment:
        """The targets as they would be without ``block`` as well;
        ``env`` is what :meth:`run` returned for ``removed``.
        """
        gates, last = self.chain.gates, self.chain.last_reader
        inside = [gates[piece.join] for piece in block.pieces if piece.join in gates]
        changed: Environment = {gate: _set(is_open=False) for gate in inside}
        for index, segment in enumerate(self.chain.segments):
            here = segment.block
            own = here is not None and any(here.join == piece.join for piece in block.pieces)
            if here is not None and (own or here.join in removed):
                if own or here.entry in changed:
                    changed.update(_bypassed(segment, changed.get(here.entry, env[here.entry])))
            elif any(name in changed for name in segment.reads):
                changed.update(self.chain.run_segment(index, ChainMap(changed, env))[0])
            for name in [name for name in changed if last.get(name, -1) <= index and name not in self.targets]:
                del changed[name]
        return {name: changed.get(name, env[name]) for name in self.targets}

    def following(self, env: Environment, changed: Environment) -> Environment:
        """The targets as they would be with other values in some tensors, ``changed``, than :meth:`run` returned."""
        others = self.changed(env, changed)
        return {name: others.get(name, env[name]) for name in self.targets}

    def changed(self, env: Environment, changed: Environment) -> Environment:
        """All that is other than :meth:`run` returned where some tensors have other values, ``changed``; with these."""
        others = dict(changed)
        for index, segment in enumerate(self.chain.segments):
            if any(name in others for name in segment.reads):
                written = self.chain.run_segment(index, ChainMap(others, env))[0]
                others.update({name: value for name, value in written.items() if name not in changed})
        return others

    def suffix_seconds(self, block: Block) -> float:
        """Time the full passes spent in the segments after ``block``."""
        blocks = [segment.block for segment in self.chain.segments]
        position = next(i for i, here in enumerate(blocks) if here is not None and here.join == block.join)
        return sum(self.seconds[position + 1 :])
