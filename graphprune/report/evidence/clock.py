"""How long each part of a network takes: parts run one after another, each in a session of its own, on one thread."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from graphprune.analysis.dataflow import DataFlow
from graphprune.base import extras
from graphprune.ir.model import Model
from graphprune.runtime.sessions import Feeds, RuntimeOptions, failing_in_a_sentence, open_session
from graphprune.segments.partition import Segment, extract, wire

_WARM_UPS = 3
_MIN_PASSES = 10
_MAX_PASSES = 200
_SECONDS = 1.5


class Relay:
    """One model as a chain of sessions; parts may be empty, which takes no time. ``last`` are the values of the last run."""

    def __init__(self, model: Model, parts: Sequence[Sequence[str]], options: RuntimeOptions) -> None:
        view = DataFlow(model)
        self.last: dict[str, Any] = {}
        self._ort = extras.onnxruntime()
        self._parts = [Segment([name for name in part if name in view.nodes], None) for part in parts]
        last = next(part for part in reversed(self._parts) if part.nodes)
        known = {name for part in self._parts for name in part.nodes}
        last.nodes += [name for name in view.nodes if name not in known]
        wire(view, self._parts, view.outputs)
        for part in self._parts:
            if part.writes:
                proto = extract(model, part.nodes, part.reads, part.writes)
                part.session = open_session(proto, replace(options, threads=1), model.folder)

    def run(self, feeds: Feeds) -> list[float]:
        """Milliseconds of every part in one pass."""
        env = self.last = {name: self._ort.OrtValue.ortvalue_from_numpy(array) for name, array in feeds.items()}
        times = []
        for part in self._parts:
            if part.session is None:
                times.append(0.0)
                continue
            inputs = {name: env[name] for name in part.reads}
            started = time.perf_counter_ns()
            with failing_in_a_sentence("leave the report's timing out with --no-bench"):
                outputs = part.session.run_with_ort_values(part.writes, inputs)
            times.append((time.perf_counter_ns() - started) / 1e6)
            env.update(zip(part.writes, outputs, strict=True))
        return times


def race(first: Relay, second: Relay, feeds: Feeds) -> tuple[list[float], list[float], int]:
    """Median milliseconds per part of both, which run in turn, and the number of passes of each."""
    for _ in range(_WARM_UPS):
        first.run(feeds)
        second.run(feeds)
    passes: tuple[list[list[float]], list[list[float]]] = ([], [])
    started = time.perf_counter()
    while len(passes[0]) < _MIN_PASSES or time.perf_counter() - started < _SECONDS:
        passes[0].append(first.run(feeds))
        passes[1].append(second.run(feeds))
        if len(passes[0]) >= _MAX_PASSES:
            break
    one, other = (np.median(np.array(each), axis=0).tolist() for each in passes)
    return one, other, len(passes[0])
