"""Multiples of widths: a part of them for narrow groups, and less where a target needs it."""

from __future__ import annotations

import pytest

from graphprune.plan.multiples import Multiples


@pytest.mark.parametrize(("size", "multiple"), [(64, 16), (32, 16), (31, 8), (16, 8), (8, 4), (3, 1), (1, 1)])
def test_narrow_groups_have_two_steps_under_auto(size: int, multiple: int) -> None:
    assert Multiples(16, is_automatic=True).of("neurons", size) == multiple
    assert Multiples(16, is_automatic=False).of("neurons", size) == 16
    assert Multiples(16, is_automatic=True).of("heads", size) == 1


@pytest.mark.parametrize(("multiple", "finer"), [(16, [8, 4, 2, 1]), (4, [2, 1]), (1, [])])
def test_only_what_was_not_asked_for_may_be_finer(multiple: int, finer: list[int]) -> None:
    assert Multiples(multiple, is_automatic=True).finer() == finer
    assert Multiples(multiple, is_automatic=False).finer() == []


def test_half_of_it_is_no_less_than_one() -> None:
    assert Multiples(16, is_automatic=True).halved() == Multiples(8, is_automatic=True)
    assert Multiples(1, is_automatic=True).halved() == Multiples(1, is_automatic=True)
    assert Multiples(16, is_automatic=False).halved() == Multiples(16, is_automatic=False)
