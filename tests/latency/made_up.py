"""A made-up runtime: it works on blocks of four, and its table of layers is off."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

import numpy as np
import pytest

from graphprune import DataOptions, RecoveryOptions, RunOptions, RuntimeOptions, TimingOptions
from graphprune.ir.model import Model, constant_dims
from graphprune.latency import search as search_room
from graphprune.latency import table as table_room
from graphprune.plan.target import Target

OPTIONS = RunOptions(
    align=2,
    data=DataOptions(samples=32),
    timing=TimingOptions(allow_slower=True, use_cache=False, seconds=0.02),
    recovery=RecoveryOptions(repair=()),
    runtime=RuntimeOptions(threads=1),
)


def staircase(model: Model) -> float:
    """A runtime that works on blocks of four, and starts every operator for a price."""
    total = 0.0
    for node in model.graph.nodes:
        dims = [constant_dims(tensor) for tensor in node.inputs[1:2] if type(tensor).__name__ == "Constant"]
        total += 30 + sum(float(np.prod([ceil(size / 4) * 4 for size in each])) for each in dims)
    return total


class FakeClock:
    """The made-up runtime, in the target's unit; the network as given takes 10 ms."""

    def __init__(self, target: Target, original: object, *_: object) -> None:
        self.dense, self.asked = (10.0 if target.unit else 1.0), target.value
        self.whole: float | None = None
        self.readings: list[float] = []

    def time(self, model: Model) -> float:
        assert self.whole is not None
        self.readings.append(self.dense * staircase(model) / self.whole)
        return self.readings[-1]


def made_up_clock(monkeypatch: pytest.MonkeyPatch) -> list[FakeClock]:
    """Every search gets the made-up clock, and a table that is off: by parameters, without the price of operators."""
    made: list[FakeClock] = []
    real = search_room.LatencySearch.run

    def remembering(*arguments: Any) -> FakeClock:
        made.append(FakeClock(*arguments))
        return made[-1]

    def run(self: search_room.LatencySearch, pass_: Any, context: Any, carry_out: Any) -> Any:
        if made[-1].whole is None:
            made[-1].whole = staircase(context.analysis.model)
        return real(self, pass_, context, carry_out)

    def by_parameters(models: Sequence[Any], *_: object) -> list[float]:
        return [1.0 + sum(float(np.prod(t.dims)) ** 1.2 for t in model.graph.initializer) for model, _ in models]

    monkeypatch.setattr(search_room, "EndToEndTimer", remembering)
    monkeypatch.setattr(search_room.LatencySearch, "run", run)
    monkeypatch.setattr(table_room, "times_ms", by_parameters)
    monkeypatch.setattr(table_room, "overhead_ms", lambda *_: 0.0)
    return made
