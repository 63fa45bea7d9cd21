"""Targets: what parses, what they compare, when they are met."""

from __future__ import annotations

import pytest

from graphprune.cost import Cost
from graphprune.errors import OptionError
from graphprune.target import Target

DENSE = Cost(macs=1000, params=200)


@pytest.mark.parametrize(
    ("text", "now", "removed", "reached", "met"),
    [
        ("flops=0.5", Cost(501, 0), 9, 0.501, False),
        ("flops=0.5", Cost(500, 200), 0, 0.5, True),
        ("params=0.25", Cost(0, 51), 9, 0.255, False),
        ("params=0.25", Cost(1000, 50), 0, 0.25, True),
        ("removed=3", Cost(0, 0), 2, 2, False),
        ("removed=3", Cost(1000, 200), 3, 3, True),
    ],
)
def test_reached_and_met(text: str, now: Cost, removed: int, reached: float, met: bool) -> None:
    target = Target.parse(text)
    assert str(target) == text
    assert target.reached(DENSE, now, removed) == pytest.approx(reached)
    assert target.is_met(DENSE, now, removed) is met


def test_progress_runs_from_nought_to_one() -> None:
    assert [Target.parse("removed=4").progress(DENSE, DENSE, n) for n in (0, 1, 4, 5)] == [0, 0.25, 1, 1]
    flops = Target.parse("flops=0.5")
    assert [flops.progress(DENSE, Cost(macs, 0), 0) for macs in (1000, 750, 500, 100)] == [0, 0.5, 1, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("speed=2", "'speed=2' is no target; write one of flops=VALUE, params=VALUE, removed=VALUE, ratio=VALUE"),
        ("flops", "target 'flops' has no number after '='"),
        ("flops=half", "has no number"),
        ("flops=0", "must lie between 0 and 1"),
        ("flops=1", "must lie between 0 and 1"),
        ("flops=nan", "must lie between 0 and 1"),
        ("params=50", "must lie between 0 and 1"),
        ("removed=0", "must be a whole number of at least 1"),
        ("removed=1.5", "must be a whole number of at least 1"),
        ("removed=inf", "must be a whole number"),
        ("removed=nan", "must be a whole number"),
    ],
)
def test_wrong_targets(text: str, message: str) -> None:
    with pytest.raises(OptionError) as caught:
        Target.parse(text)
    assert message in str(caught.value)
