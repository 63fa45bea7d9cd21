"""The correction loop on made-up runtimes: a staircase, a biased table, noise, steps too coarse,
targets out of reach.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from itertools import pairwise
from math import ceil

import numpy as np
import pytest

from graphprune.latency.closing import TOLERANCE, Closing, close_in
from graphprune.pass_infra.proposals import Proposal

WIDTHS = (64, 64, 128, 128, 256)
"""A chain of layers; the made-up runtime works on blocks of 16."""


def true_share(counts: tuple[int, ...]) -> float:
    """Fixed costs of a fifth, and blocks of 16 in and out."""

    def blocks(counts: tuple[int, ...]) -> int:
        steps = [1, *(ceil(count / 16) for count in counts)]
        return sum(a * b for a, b in pairwise(steps))

    return 0.2 + 0.8 * blocks(counts) / blocks(WIDTHS)


def proposals(step: int, bias: float) -> Callable[[float], Proposal[tuple[int, ...]]]:
    """The same share of every layer in multiples of ``step``,
    by a table that knows no fixed costs and is ``bias`` off.
    """

    def at(share: float) -> Proposal[tuple[int, ...]]:
        counts = tuple(max(step, int(share * width) // step * step) for width in WIDTHS)
        estimate = float(np.mean([(count / width) ** bias for count, width in zip(counts, WIDTHS, strict=True)]))
        return Proposal(counts, estimate, counts)

    ladder = [at(share) for share in np.linspace(0, 1, 200)]
    estimates = [proposal.estimate for proposal in ladder]

    def propose(budget: float) -> Proposal[tuple[int, ...]]:
        return ladder[max(0, bisect_right(estimates, budget) - 1)]

    return propose


def closed(
    asked: float, *, step: int = 8, bias: float = 1.0, dense: float = 1.0
) -> tuple[Closing[tuple[int, ...]], int]:
    """What was settled on, and how many networks were timed."""
    found = close_in(asked, dense, proposals(step, bias), lambda proposal: dense * true_share(proposal.thing))
    return found, len(found.readings)


@pytest.mark.parametrize("bias", [0.5, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("asked", [0.9, 0.75, 0.6, 0.5, 0.4])
def test_closes_in_whatever_the_table_gets_wrong(asked: float, bias: float) -> None:
    found, calls = closed(asked, step=4, bias=bias)
    below, above = found.neighbours()
    assert found.is_met
    assert calls <= 10
    if not found.is_close:  # then no step of the staircase is closer: it has none between the two
        assert below is not None
        propose = proposals(4, bias)
        every = {true_share(propose(float(budget)).thing) for budget in np.linspace(0, 1, 200)}
        assert not [share for share in every if abs(share / asked - 1) <= TOLERANCE]
        assert found.best.value == below
        assert above is None or above > asked


def test_what_can_be_hit_is_hit() -> None:
    propose = proposals(4, 1.7)
    every = [true_share(propose(float(budget)).thing) for budget in np.linspace(0, 1, 400)]
    possible = [asked for asked in np.linspace(0.35, 0.95, 60) if min(abs(share / asked - 1) for share in every) < 0.03]
    assert len(possible) > 30
    hits = [closed(float(asked), step=4, bias=1.7)[0].is_close for asked in possible]
    assert np.mean(hits) >= 0.9  # ten measurements do not find every single step


def test_milliseconds_are_a_matter_of_scale() -> None:
    found, _ = closed(6.0, step=4, dense=10.0)
    share, _ = closed(0.6, step=4)
    assert found.best.proposal.key == share.best.proposal.key
    assert found.best.value == pytest.approx(10 * share.best.value)


def test_coarse_steps_settle_below_and_name_both_neighbours() -> None:
    found, _ = closed(0.7, step=64)
    below, above = found.neighbours()
    assert found.is_met
    assert not found.is_close
    assert found.best.value == below
    assert below is not None
    assert below < 0.7
    assert above is None or above > 0.7


def test_out_of_reach_ends_with_the_least_there_is() -> None:
    found, calls = closed(0.15)
    assert not found.is_met
    assert found.best.value == pytest.approx(true_share((8,) * 5))
    assert calls <= 4


def test_a_table_that_promises_too_much_is_corrected_in_few_steps() -> None:
    """Half of the time does not depend on widths at all."""
    ladder = proposals(4, 1.0)
    found = close_in(0.7, 1.0, ladder, lambda proposal: 0.5 + 0.5 * proposal.estimate)
    assert found.is_close
    assert len(found.readings) <= 4


def test_noise_does_not_keep_it_from_ending() -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        found = close_in(0.6, 1.0, proposals(4, 1.5), lambda p: true_share(p.thing) * float(random.normal(1, 0.02)))
        assert found.is_met
        assert len(found.readings) <= 10


def test_the_luckiest_reading_does_not_win() -> None:
    """Two candidates of 0.70 and 0.65; the first look at the worse one is a lucky one."""
    first, second = Proposal("worse", 0.70, "worse"), Proposal("better", 0.65, "better")
    looks = {"worse": [0.65, 0.71, 0.71], "better": [0.66, 0.654, 0.654]}
    ladder = [first, second]

    def propose(budget: float) -> Proposal[str]:
        return first if budget >= 0.64 else second

    found = close_in(0.65, 1.0, propose, lambda proposal: looks[proposal.thing].pop(0))
    assert [reading.proposal for reading in found.readings] == ladder
    assert found.best.proposal is second
    assert found.best.value == pytest.approx((0.66 + 0.654 + 0.654) / 3)
    assert found.is_close


def test_what_is_settled_on_is_the_mean_of_three_looks() -> None:
    """With noise of 3 % the settled time is off by less than a single look would be."""
    random, off = np.random.default_rng(1), []
    for _ in range(200):
        found = close_in(0.6, 1.0, proposals(4, 1.5), lambda p: true_share(p.thing) * float(random.normal(1, 0.03)))
        off.append(found.best.value / true_share(found.best.proposal.thing) - 1)
        assert found.best.timings == 3
    assert np.std(off) < 0.022
    assert abs(np.mean(off)) < 0.005


def lost_layout(asked: float) -> Closing[int]:
    """Below five of ten channels the made-up runtime computes in a slower layout."""

    def propose(budget: float) -> Proposal[int]:
        count = max(1, int(10 * budget + 1e-9))
        return Proposal(count, count / 10, count)

    return close_in(asked, 1.0, propose, lambda proposal: proposal.thing / 10 + (0.7 if proposal.thing < 5 else 0.1))


def test_where_the_least_there_is_is_slow_something_wider_serves() -> None:
    found = lost_layout(0.6)
    assert found.is_met
    assert found.best.proposal.thing == 5
    never = lost_layout(0.3)
    assert not never.is_met
    assert never.best.proposal.thing == 5  # one of ten takes 0.8
    assert len(never.readings) <= 10
