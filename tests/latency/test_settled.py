"""The last word on a latency target is the written file's time, and what is off by more than three per cent is said."""

from __future__ import annotations

import pytest

from graphprune.latency.clock import settled, value_of
from graphprune.measure.runtime import Measurement
from graphprune.measure.timing import Comparison, Latency
from graphprune.plan.plan import Plan
from graphprune.plan.target import Target
from graphprune.run.notes import texts_of


def word(asked: str, chosen: float, ratio: float) -> tuple[float, tuple[str, ...]]:
    """Plan's figure and notes when a candidate that took ``chosen`` is written and takes ``ratio`` of 2 ms."""
    first, second = Latency(2.0, 1.9, 2.1), Latency(2 * ratio, 1.9 * ratio, 2.1 * ratio)
    measurement = Measurement(Comparison(first, second, ratio, ratio, ratio, 30), 1, {})
    target = Target.parse(asked)
    chosen_plan = Plan(model_sha256="", decisions=(), asked=asked, reached=chosen, seed=0)
    plan, notes = settled(target, chosen_plan, value_of(target, measurement))
    return plan.reached, texts_of(notes)


@pytest.mark.parametrize(
    ("asked", "chosen", "ratio", "note"),
    [
        ("latency=0.6", 0.6, 0.61, ""),
        ("latency=0.6", 0.6, 0.66, "takes 0.66, 10.0 % above latency=0.6; when it was chosen it took 0.6"),
        ("latency=0.6", 0.6, 0.54, "takes 0.54, 10.0 % below latency=0.6; when it was chosen it took 0.6"),
        ("latency=0.6", 0.54, 0.55, "takes 0.55, 8.3 % below latency=0.6; when it was chosen it took 0.54"),
        ("latency=0.6", 0.66, 0.66, ""),  # said when it was chosen
        ("latency=1ms", 1.0, 0.55, "takes 1.1ms, 10.0 % above latency=1ms; when it was chosen it took 1ms"),
    ],
)
def test_note(asked: str, chosen: float, ratio: float, note: str) -> None:
    reached, notes = word(asked, chosen, ratio)
    assert reached == pytest.approx(2 * ratio if asked.endswith("ms") else ratio)
    assert notes == ((f"the written file {note}",) if note else ())
