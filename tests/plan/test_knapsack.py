"""The knapsack against every combination there is."""

from __future__ import annotations

import os
from itertools import product

import numpy as np
import pytest
import scipy.optimize

from graphprune.plan import knapsack
from graphprune.plan.knapsack import Option, solve

Groups = list[list[Option]]


def drawn(seed: int) -> Groups:
    """Three to five groups of two to five widths; fewer units cost less, and lose more."""
    random = np.random.default_rng(seed)
    groups = []
    for _ in range(random.integers(3, 6)):
        count = int(random.integers(2, 6))
        losses = np.concatenate([[0.0], np.cumsum(random.uniform(0, 1, count - 1))])
        costs = np.sort(random.uniform(0.1, 2, count))[::-1]
        groups.append([Option(8 * (count - i), float(losses[i]), float(costs[i])) for i in range(count)])
    return groups


def exhaustive(groups: Groups, budget: float, most: int | None = None) -> float | None:
    """The least loss that fits, by trying everything."""
    full = sum(max(option.kept for option in group) for group in groups)
    fitting = [
        sum(option.loss for option in choice)
        for choice in product(*groups)
        if sum(option.cost for option in choice) <= budget
        and (most is None or full - sum(option.kept for option in choice) <= most)
    ]
    return min(fitting, default=None)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("share", [0.95, 0.7, 0.45, 0.2])
def test_is_exact(seed: int, share: float) -> None:
    groups = drawn(seed)
    budget = share * sum(group[0].cost for group in groups)
    for most in (None, 24):
        chosen, best = solve(groups, budget, most), exhaustive(groups, budget, most)
        if best is None:
            assert chosen is None
            continue
        assert chosen is not None
        assert [option in group for option, group in zip(chosen, groups, strict=True)] == [True] * len(groups)
        assert sum(option.cost for option in chosen) <= budget * (1 + 1e-9)
        assert sum(option.loss for option in chosen) == pytest.approx(best, abs=1e-9)


def test_the_cheap_layer_pays_when_importance_is_equal() -> None:
    """Greedy by importance would take the first group; the second buys the same time for less."""
    groups = [[Option(2, 0.0, 1.0), Option(1, 0.4, 0.9)], [Option(2, 0.0, 1.0), Option(1, 0.5, 0.2)]]
    chosen = solve(groups, 1.2)
    assert chosen is not None
    assert [option.kept for option in chosen] == [2, 1]


def test_magnitudes_do_not_matter() -> None:
    groups = [[Option(o.kept, o.loss * 1e-9, o.cost * 1e6) for o in group] for group in drawn(3)]
    budget = 0.6 * sum(group[0].cost for group in groups)
    chosen, best = solve(groups, budget), exhaustive(groups, budget)
    assert chosen is not None
    assert best is not None
    assert sum(option.loss for option in chosen) == pytest.approx(best, rel=1e-6)


def test_what_the_solver_prints_is_no_result(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Standard output at the level of the file descriptor, where a C library writes."""
    real = scipy.optimize.milp

    def talkative(*arguments: object, **named: object) -> object:
        os.write(1, b"remark")
        return real(*arguments, **named)

    monkeypatch.setattr(knapsack, "milp", talkative)
    assert solve([[Option(1, 0.0, 1.0)]], 2.0) == [Option(1, 0.0, 1.0)]
    os.write(1, b"result")
    assert capfd.readouterr().out == "result"
