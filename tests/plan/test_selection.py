"""The solver: what goes and what stays, in which order, and at what exact cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphprune.analysis.cost import Cost, model_cost
from graphprune.analysis.groups import Group
from graphprune.analysis.sizes import concrete_sizes
from graphprune.analysis.unit_cost import UnitCost
from graphprune.axes.algebra import Atom
from graphprune.plan.selection import Candidate, Scope, Selection, select
from graphprune.rewrite import remove_units
from graphprune.run.loaded import prepare
from graphprune.run.options import RunOptions
from graphprune.runtime.sessions import RuntimeOptions
from tests.graphs import random_feeds
from tests.small_cnns import flattened, grouped
from tests.token_graphs import Shape, transformer


class Prices(UnitCost):
    """A made-up cost: every unit of a group has the same price."""

    def __init__(self, candidates: Sequence[Candidate], prices: Sequence[int]) -> None:
        self.counts = {each.group.atom: len(each.scores) for each in candidates}
        self._prices = {each.group.atom: price for each, price in zip(candidates, prices, strict=True)}

    @property
    def cost(self) -> Cost:
        return Cost(sum(count * self._prices[atom] for atom, count in self.counts.items()), 0)

    def keep(self, atom: Atom, count: int) -> None:
        self.counts[atom] = count

    def needs_copy(self, atom: Atom) -> bool:
        return False


def candidate(scores: Sequence[float], floor: int = 1, align: int = 1) -> Candidate:
    size = len(scores)
    group = Group("g", "filters", size, 1, (), (), (), None, Atom(size))
    return Candidate(group, np.array(scores, np.float64), floor, align)


def gone(candidates: Sequence[Candidate], selection: Selection) -> list[list[int]]:
    return [selection.removed.get(each.group.atom, np.zeros(0, np.intp)).tolist() for each in candidates]


def at_most(macs: float) -> Callable[[Cost, int], bool]:
    return lambda cost, removed: cost.macs <= macs


def at_least(count: int) -> Callable[[Cost, int], bool]:
    return lambda cost, removed: removed >= count


@st.composite
def offers(draw: st.DrawFn, aligns: tuple[int, ...] = (1, 2, 3, 4)) -> tuple[list[Candidate], list[int]]:
    """Groups with scores that tie now and then, and a price for the units of each."""
    score = st.integers(0, 6).map(lambda number: number / 4)
    groups = draw(st.lists(st.lists(score, min_size=2, max_size=9), min_size=1, max_size=4))
    found = [candidate(each, draw(st.integers(0, len(each))), draw(st.sampled_from(aligns))) for each in groups]
    return found, draw(st.lists(st.integers(1, 20), min_size=len(found), max_size=len(found)))


def lowest(each: Candidate) -> int:
    """The fewest units that may stay, the long way: the smallest fitting multiple, or all."""
    fitting = [count for count in range(max(1, each.floor), len(each.scores)) if count % each.align == 0]
    return min(fitting, default=len(each.scores))


def next_up(each: Candidate, kept: int) -> int:
    """The kept count before the last chunk went."""
    return next(
        (count for count in range(kept + 1, len(each.scores)) if count % each.align == 0),
        len(each.scores),
    )


@settings(max_examples=150, deadline=None)
@given(offers(), st.floats(0, 1), st.sampled_from(["global", "group"]))
def test_rules_hold_whatever_is_asked(offer: tuple[list[Candidate], list[int]], share: float, scope: Scope) -> None:
    candidates, prices = offer
    cost = Prices(candidates, prices)
    goal = share * cost.cost.macs
    selection = select(candidates, cost, at_most(goal), scope)
    kept = [
        len(each.scores) - len(indices) for each, indices in zip(candidates, gone(candidates, selection), strict=True)
    ]
    assert [cost.counts[each.group.atom] for each in candidates] == kept
    assert selection.is_met == (cost.cost.macs <= goal)
    for each, indices, count in zip(candidates, gone(candidates, selection), kept, strict=True):
        assert count == len(each.scores) or (count % each.align == 0 and count >= max(1, each.floor))
        ranked = sorted(range(len(each.scores)), key=lambda index: (each.scores[index], index))
        assert indices == sorted(ranked[: len(indices)])
    if not selection.is_met:
        assert kept == [lowest(each) for each in candidates]


@settings(max_examples=150, deadline=None)
@given(offers(), st.floats(0, 1))
def test_nothing_that_went_could_stay(offer: tuple[list[Candidate], list[int]], share: float) -> None:
    candidates, prices = offer
    cost = Prices(candidates, prices)
    goal = share * cost.cost.macs
    selection = select(candidates, cost, at_most(goal), "global")
    for each, indices in zip(candidates, gone(candidates, selection), strict=True):
        if selection.is_met and indices:
            kept = cost.counts[each.group.atom]
            cost.keep(each.group.atom, next_up(each, kept))
            assert cost.cost.macs > goal
            cost.keep(each.group.atom, kept)


@settings(max_examples=150, deadline=None)
@given(offers(), st.floats(0, 1))
def test_shares_are_equal_to_within_a_chunk(offer: tuple[list[Candidate], list[int]], share: float) -> None:
    """No group has given more than any other would have given with one chunk more."""
    candidates, prices = offer
    cost = Prices(candidates, prices)
    select(candidates, cost, at_most(share * cost.cost.macs), "group")
    shares, following = [], []
    for each in candidates:
        size, kept = len(each.scores), cost.counts[each.group.atom]
        shares.append((size - kept) / size)
        lower = [count for count in range(lowest(each), kept) if count % each.align == 0]
        following += [(size - max(lower)) / size] if lower else []
    assert max(shares) <= min(following, default=1)


@settings(max_examples=100, deadline=None)
@given(offers(aligns=(1,)), st.integers(1, 20))
def test_global_order_is_that_of_all_scores_sorted(offer: tuple[list[Candidate], list[int]], count: int) -> None:
    candidates, prices = offer
    selection = select(candidates, Prices(candidates, prices), at_least(count), "global")
    slow: list[list[int]] = [[] for _ in candidates]
    ranks = [
        (score, number, index)
        for number, each in enumerate(candidates)
        for score, index in sorted((score, index) for index, score in enumerate(each.scores))
    ]
    for _, number, index in sorted(ranks):
        if sum(map(len, slow)) < count and len(candidates[number].scores) - len(slow[number]) > lowest(
            candidates[number]
        ):
            slow[number].append(index)
    assert gone(candidates, selection) == [sorted(each) for each in slow]


@settings(max_examples=60, deadline=None)
@given(offers(aligns=(1,)), st.integers(1, 12), st.integers(0, 8), st.sampled_from(["global", "group"]))
def test_asking_for_a_larger_number_removes_no_other_unit(
    offer: tuple[list[Candidate], list[int]], count: int, more: int, scope: Scope
) -> None:
    candidates, prices = offer
    fewer, further = (
        gone(candidates, select(candidates, Prices(candidates, prices), at_least(number), scope))
        for number in (count, count + more)
    )
    assert all(set(one) <= set(other) for one, other in zip(fewer, further, strict=True))


@settings(max_examples=100, deadline=None)
@given(offers(), st.floats(0, 1), st.integers(0, 12), st.sampled_from(["global", "group"]))
def test_no_more_go_than_may(offer: tuple[list[Candidate], list[int]], share: float, most: int, scope: Scope) -> None:
    candidates, prices = offer
    cost = Prices(candidates, prices)
    goal = share * cost.cost.macs
    selection = select(candidates, cost, at_most(goal), scope, most)
    number = sum(map(len, gone(candidates, selection)))
    assert number <= most
    if not selection.is_met:  # then nothing that is left fits any more
        for each in candidates:
            kept = cost.counts[each.group.atom]
            lower = [count for count in range(lowest(each), kept) if count % each.align == 0]
            assert not lower or kept - max(lower) > most - number


def test_what_a_large_step_made_needless_comes_back() -> None:
    """Two cheap units went first; the dear one that followed would have been enough."""
    candidates = [candidate([1, 2, 9]), candidate([3, 8])]
    selection = select(candidates, Prices(candidates, [1, 10]), at_most(13), "global")
    assert gone(candidates, selection) == [[], [0]]


def test_a_cost_target_is_not_nested() -> None:
    """Why: the same units as above go one by one while the target allows it, and stay when it asks for more."""
    candidates = [candidate([1, 2, 9]), candidate([3, 8])]
    less = select(candidates, Prices(candidates, [1, 10]), at_most(21), "global")
    assert gone(candidates, less) == [[0, 1], []]


def test_equal_shares_are_not_given_up_to_come_closer() -> None:
    """The dear group's second unit overshoots; the cheap group gave its share before and does not get it back."""
    candidates = [candidate([1, 2, 3, 4]), candidate([1, 2, 3, 4, 5, 6, 7, 8])]
    selection = select(candidates, Prices(candidates, [100, 1]), at_most(300), "group")
    assert gone(candidates, selection) == [[0, 1], [0, 1, 2]]


def test_a_round_of_equal_shares_ends_where_the_target_is_met() -> None:
    candidates = [candidate([1, 2, 3, 4]), candidate([1, 2, 3, 4]), candidate([1, 2, 3, 4])]
    selection = select(candidates, Prices(candidates, [1, 1, 50]), at_most(158), "group")
    assert gone(candidates, selection) == [[], [], [0]]


def test_ties_go_in_the_order_of_groups_and_units() -> None:
    candidates = [candidate([1, 1, 1]), candidate([1, 0, 1])]
    results = [
        gone(candidates, select(candidates, Prices(candidates, [1, 1]), at_least(count), "global"))
        for count in range(1, 5)
    ]
    assert results == [[[], [1]], [[0], [1]], [[0, 1], [1]], [[0, 1], [0, 1]]]


@pytest.mark.parametrize(
    ("size", "floor", "align", "counts"),
    [
        (20, 1, 8, [16, 8]),
        (16, 1, 8, [8]),
        (16, 9, 8, []),
        (7, 1, 8, []),
        (8, 1, 8, []),
        (5, 3, 1, [4, 3]),
        (5, 0, 1, [4, 3, 2, 1]),
        (5, 5, 1, []),
    ],
)
def test_chunks_end_at_multiples(size: int, floor: int, align: int, counts: list[int]) -> None:
    chunks = candidate(list(range(size)), floor, align).chunks()
    assert np.subtract(size, np.cumsum([len(chunk) for chunk in chunks], dtype=int)).tolist() == counts
    assert [*np.concatenate([*chunks, np.zeros(0, int)])] == list(range(sum(map(len, chunks))))


def test_chunks_of_different_groups_compare_by_their_mean() -> None:
    candidates = [candidate([0, 9, 9, 9], align=2), candidate([4, 4, 9, 9], align=2)]
    selection = select(candidates, Prices(candidates, [1, 1]), at_least(2), "global")
    assert gone(candidates, selection) == [[], [0, 1]]


def test_a_target_that_is_met_takes_nothing() -> None:
    candidates = [candidate([1, 2])]
    assert select(candidates, Prices(candidates, [1]), at_most(2), "global") == Selection({}, True)


@pytest.mark.parametrize("scope", ["global", "group"])
@pytest.mark.parametrize(
    "proto", [flattened(), grouped(), transformer(Shape(layers=2, kv_heads=2))], ids=["flat", "grouped", "tokens"]
)
def test_cost_is_that_of_the_rewritten_model(proto: onnx.ModelProto, scope: Scope) -> None:
    subject = prepare(proto, random_feeds(proto) if len(proto.graph.input) == 1 else None, RunOptions())
    groups = [group for group in subject.analysis.groups if group.is_prunable]
    generator = np.random.default_rng(5)
    candidates = [Candidate(group, generator.random(group.size), 1, 2) for group in groups]
    cost = subject.analysis.typed_cost()
    whole = cost.cost.macs
    selection = select(candidates, cost, at_most(whole / 2), scope)
    assert selection.is_met
    kept = {atom: np.isin(np.arange(atom.size), indices, invert=True) for atom, indices in selection.removed.items()}
    small = remove_units(subject.model, subject.analysis.typing, kept)
    written = model_cost(small, concrete_sizes(small, subject.feeds, RuntimeOptions(threads=1)))
    assert (cost.macs, cost.params) == (written.macs, written.params)
    assert written.macs <= whole / 2


def test_candidates_together_lose_equally_many_in_the_order_of_their_mean() -> None:
    """The second step of the pair (means 1 and 4.5) comes after the loner's first (2)."""
    candidates = [candidate([0, 9, 5]), candidate([2, 6, 7]), candidate([2, 4, 30])]
    pair = [[0, 2]]
    assert gone(candidates, select(candidates, Prices(candidates, [1, 1, 1]), at_least(2), "global", None, pair)) == [
        [0],
        [],
        [0],
    ]
    assert gone(candidates, select(candidates, Prices(candidates, [1, 1, 1]), at_least(3), "global", None, pair)) == [
        [0],
        [0],
        [0],
    ]
    found = select(candidates, Prices(candidates, [1, 1, 1]), at_least(4), "global", None, pair)
    assert gone(candidates, found) == [[0, 2], [], [0, 1]]  # and the loner's is put back, for it was not needed


def test_no_more_than_allowed_go_together() -> None:
    candidates = [candidate([0, 1, 2]), candidate([0, 1, 2]), candidate([5, 6, 7])]
    found = select(candidates, Prices(candidates, [1, 1, 1]), at_least(9), "global", 3, [[0, 1]])
    assert gone(candidates, found) == [[0], [0], [0]]
