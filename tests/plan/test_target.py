"""Targets: what parses, what they compare, when they are met."""

from __future__ import annotations

import pytest

from graphprune.analysis.cost import Cost
from graphprune.errors import OptionError
from graphprune.plan.goal import Goal
from graphprune.plan.target import Target

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
        ("rule", Cost(1000, 200), 0, 0, False),
        ("rule", Cost(1000, 200), 5, 5, True),
    ],
)
def test_reached_and_met(text: str, now: Cost, removed: int, reached: float, met: bool) -> None:
    target = Target.parse(text)
    assert str(target) == text
    assert target.reached(DENSE, now, removed) == pytest.approx(reached)
    assert target.is_met(DENSE, now, removed) is met


@pytest.mark.parametrize(
    ("removed", "considered", "reached", "met"),
    [
        (2, 10, 0.2, False),
        (3, 10, 0.3, True),
        (4, 12, 1 / 3, True),
        (3, 12, 0.25, False),
        (0, 0, 0, True),
        (0, 1, 0, True),
    ],
)
def test_ratio_is_of_the_units_considered_to_the_nearest(
    removed: int, considered: int, reached: float, met: bool
) -> None:
    """Costs play no part: 30 % of 12 units are 4, of 1 unit none."""
    target = Target.parse("ratio=0.3")
    assert target.reached(DENSE, Cost(1, 1), removed, considered) == pytest.approx(reached)
    assert target.is_met(DENSE, Cost(1, 1), removed, considered) is met


@pytest.mark.parametrize(
    ("target", "removed", "considered", "now", "met"),
    [
        ("removed=5", 1, 10, DENSE, False),
        ("removed=5", 2, 10, DENSE, True),
        ("ratio=0.5", 6, 10, DENSE, False),  # 9 of 20
        ("ratio=0.5", 7, 10, DENSE, True),
        ("flops=0.5", 9, 10, Cost(501, 0), False),
        ("flops=0.5", 0, 10, Cost(500, 200), True),
    ],
)
def test_a_later_pass_counts_on_from_the_earlier_ones(
    target: str, removed: int, considered: int, now: Cost, met: bool
) -> None:
    goal = Goal(Target.parse(target), DENSE, removed_before=3, considered_before=10)
    assert goal.is_met(now, removed, considered) is met


def test_progress_runs_from_nought_to_one() -> None:
    assert [Target.parse("removed=4").progress(DENSE, DENSE, n) for n in (0, 1, 4, 5)] == [0, 0.25, 1, 1]
    assert [Target.parse("ratio=0.5").progress(DENSE, DENSE, n, 8) for n in (0, 1, 4, 5)] == [0, 0.25, 1, 1]
    flops = Target.parse("flops=0.5")
    assert [flops.progress(DENSE, Cost(macs, 0), 0) for macs in (1000, 750, 500, 100)] == [0, 0.5, 1, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("speed=2", "'speed=2' is no target; write one of flops=VALUE, params=VALUE, removed=VALUE, ratio=VALUE"),
        ("flops", "target 'flops' has no number after '='"),
        ("flops=half", "has no number"),
        ("flops=0", "must lie between 0 and 1: it is the share left; write flops=0.5"),
        ("ratio=1", "must lie between 0 and 1: it is the share that goes; write ratio=0.5"),
        ("flops=1", "must lie between 0 and 1"),
        ("flops=nan", "must lie between 0 and 1"),
        ("params=50", "must lie between 0 and 1"),
        ("removed=0", "must be a whole number of at least 1"),
        ("removed=1.5", "must be a whole number of at least 1"),
        ("removed=inf", "must be a whole number"),
        ("removed=nan", "must be a whole number"),
        ("ttft=0ms", "must be a time above 0; write for example ttft=50ms"),
        ("tokens-per-s=0/s", "must be a number of tokens above 0; write for example tokens-per-s=40/s"),
    ],
)
def test_wrong_targets(text: str, message: str) -> None:
    with pytest.raises(OptionError) as caught:
        Target.parse(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("latency=0.6", 0.6, ""),
        ("latency=5ms", 5.0, "ms"),
        ("latency=0.25ms", 0.25, "ms"),
        ("latency=120ms", 120, "ms"),
    ],
)
def test_latency_is_a_share_or_a_time(text: str, value: float, unit: str) -> None:
    target = Target.parse(text)
    assert (target.kind, target.value, target.unit) == ("latency", value, unit)
    assert str(target) == text


@pytest.mark.parametrize(
    ("text", "value", "unit", "shown", "milliseconds"),
    [
        ("ttft=50ms", 50, "ms", "ttft=50ms", 50),
        ("tokens-per-s=40/s", 40, "/s", "tokens-per-s=40/s", 25),
        ("tokens-per-s=40", 40, "/s", "tokens-per-s=40/s", 25),
        ("tokens-per-s=0.5/s", 0.5, "/s", "tokens-per-s=0.5/s", 2000),
        ("tokens-per-s=9.5", 9.5, "", "tokens-per-s=9.5", 1 / 9.5),
        ("tokens-per-s=1200%", 12, "", "tokens-per-s=1200%", 1 / 12),
    ],
)
def test_generation_has_times_and_numbers_of_tokens(
    text: str, value: float, unit: str, shown: str, milliseconds: float
) -> None:
    target = Target.parse(text)
    assert (target.value, target.unit, str(target)) == (value, unit, shown)
    assert Target.parse(str(target)) == target
    assert target.turned(value) == pytest.approx(milliseconds)
    assert target.turned(target.turned(value)) == pytest.approx(value)


def test_generation_has_a_speed_up_and_a_share() -> None:
    tokens, first = Target.parse("tokens-per-s=125%"), Target.parse("ttft=0.7")
    assert (str(tokens), str(first), tokens.is_time, first.is_time) == ("tokens-per-s=1.25", "ttft=0.7", True, True)
    assert (tokens.turned(1.25), tokens.turned(0.8), first.turned(0.7)) == (0.8, 1.25, 0.7)


@pytest.mark.parametrize(
    "text",
    [
        "latency=1",
        "tokens-per-s=1",
        "tokens-per-s=0.5",
        "tokens-per-s=inf",
        "tokens-per-s=nan",
        "ttft=1",
        "latency=5",
        "latency=0",
        "latency=0ms",
        "latency=-1ms",
        "latency=ms",
        "latency=infms",
        "latency=nan",
        "latency=nanms",
        "latency=5s",
        "flops=5ms",
    ],
)
def test_other_latencies_are_refused(text: str) -> None:
    with pytest.raises(OptionError) as caught:
        Target.parse(text)
    assert text in caught.value.message


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("flops=50%", "flops=0.5"),
        ("params=12.5%", "params=0.125"),
        ("ratio=30%", "ratio=0.3"),
        ("latency=60%", "latency=0.6"),
    ],
)
def test_percent_are_shares(text: str, shown: str) -> None:
    assert str(Target.parse(text)) == shown


@pytest.mark.parametrize("text", ["0.5", "50%", "4", 0.5, 4])
def test_a_number_alone_is_told_what_it_lacks(text: str) -> None:
    with pytest.raises(OptionError, match=f"^target {text} does not say of what; write flops=0.5"):
        Target.parse(text)
