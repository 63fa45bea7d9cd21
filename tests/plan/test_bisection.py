"""The largest cut within something, found by few trials."""

from __future__ import annotations

import pytest

from graphprune.plan.bisection import CLOSE, MOST_TRIALS, Bracket, largest


def _search(limit: float, *, least: float = 0.1, steps: int = 1000) -> tuple[Bracket[int], list[int]]:
    """Of cuts by 1 to ``steps`` parts, down to ``least`` of the whole, those that leave ``limit`` are within."""
    tried: list[int] = []

    def is_within(cut: int) -> bool:
        tried.append(cut)
        return 1 - cut / steps >= limit

    def cut_at(share: float) -> int:
        return min(-int(-(1 - share) * steps // 1), round((1 - least) * steps))

    found = largest(cut_at, lambda cut: cut, is_within, lambda cut: cut >= round((1 - least) * steps))
    return found, tried


@pytest.mark.parametrize("limit", [0.95, 0.81, 0.5, 0.12])
def test_the_answer_is_a_step_from_what_is_too_large(limit: float) -> None:
    found, tried = _search(limit)
    assert found.within is not None and found.beyond is not None
    assert 1 - found.within / 1000 >= limit > 1 - found.beyond / 1000
    assert (found.beyond - found.within) / 1000 <= CLOSE
    assert len(tried) == len(set(tried)) <= MOST_TRIALS


def test_where_all_is_within_the_limit_of_the_passes_ends_it() -> None:
    found, tried = _search(0.05)
    assert found == Bracket(900, None)
    assert tried == [200, 600, 900]


def test_where_nothing_is_within_the_smallest_was_tried() -> None:
    found, tried = _search(1.1)
    assert found.within is None
    assert found.beyond == min(tried) <= 10


def test_coarse_steps_are_tried_once_each() -> None:
    found, tried = _search(0.7, steps=7)
    assert found == Bracket(2, 3)
    assert sorted(tried) == sorted(set(tried))
