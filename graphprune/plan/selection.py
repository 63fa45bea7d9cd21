"""Which units go: the least important first, over all groups at once, until a target is met.

The cost after every step is exact, computed from the axis types.
Kept counts can be rounded to multiples that the hardware likes; then units go in chunks from one multiple to the next.
No group goes below its floor, none is emptied.

What a large last step made needless is put back. So a result is as small as its order allows, but it is not nested:
asking for more may keep a unit that asking for less removed.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from graphprune.analysis.cost import Cost
from graphprune.analysis.groups import Group
from graphprune.analysis.unit_cost import UnitCost
from graphprune.axes.algebra import Atom

Scope = Literal["global", "group"]
Met = Callable[[Cost, int], bool]
"""Whether the target is met at this cost with so many units gone."""


@dataclass(frozen=True)
class Candidate:
    """A group on offer: one importance per unit (low goes first), the fewest units that must stay, the multiple kept.

    ``finest`` allows fewer than one multiple: its half, the half of that, and so on down to ``finest``.
    """

    group: Group
    scores: NDArray[np.float64]
    floor: int
    align: int = 1
    finest: int | None = None

    def chunks(self) -> list[NDArray[np.intp]]:
        """Unit indices in order of removal, cut where the kept count is one that may stay."""
        order = np.argsort(self.scores, kind="stable")
        size = len(order)
        few = (
            set() if self.finest is None else {self.align >> n for n in range(1, 32) if self.align >> n >= self.finest}
        )
        even = (count for count in range(size - 1, 0, -1) if count % self.align == 0 or count in few)
        counts = [count for count in even if count >= max(1, self.floor)]
        edges = [0, *(size - count for count in counts)]
        return [order[start:end] for start, end in pairwise(edges)]


@dataclass(frozen=True)
class Selection:
    """Group -> removed indices, ascending; ``is_met`` tells whether the target was reached."""

    removed: dict[Atom, NDArray[np.intp]]
    is_met: bool


def select(
    candidates: Sequence[Candidate],
    cost: UnitCost,
    is_met: Met,
    scope: Scope,
    most: int | None = None,
    together: Sequence[Sequence[int]] = (),
) -> Selection:
    """Take chunks in order of importance until ``is_met``; then put back, most important first, what was not needed.

    ``"global"`` compares the mean scores of chunks between groups; ``"group"`` takes the same share of every group,
    to within one chunk, and puts back only what keeps it so. Groups that cost more parameters than they can save, for
    they share constants with layers that need another part of them, come last. No more than ``most`` units go:
    a group whose next chunk is too large for what is left of them is done. Candidates ``together``, by their places,
    lose equally many: the first chunks of all go at once, then the second ones.
    """
    bundles = _bundles(candidates, together, scope)
    late = [any(_is_dear(candidates[index], cost) for index in bundle.members) for bundle in bundles]
    queue = [(late[index], bundle.keys[0], index, 0) for index, bundle in enumerate(bundles) if bundle.keys]
    heapq.heapify(queue)  # late, key, bundle, chunk
    taken: list[tuple[int, int]] = []
    gone = [0] * len(candidates)
    done = is_met(cost.cost, 0)
    while queue and not done:
        _, _, index, position = heapq.heappop(queue)
        bundle = bundles[index]
        if most is not None and sum(gone) + bundle.units(position) > most:
            continue
        _move(candidates, bundle, position, gone, cost, 1)
        taken.append((index, position))
        if position + 1 < len(bundle.keys):
            heapq.heappush(queue, (late[index], bundle.keys[position + 1], index, position + 1))
        done = is_met(cost.cost, sum(gone))
    if done and taken:
        last = bundles[taken[-1][0]].keys[taken[-1][1]]
        spare = [each for each in taken if scope == "global" or bundles[each[0]].keys[each[1]] == last]
        _put_back(candidates, bundles, spare, gone, cost, is_met)
    removed = {
        candidate.group.atom: np.sort(np.argsort(candidate.scores, kind="stable")[:count])
        for candidate, count in zip(candidates, gone, strict=True)
        if count
    }
    return Selection(removed, done)


@dataclass(frozen=True)
class _Bundle:
    """Candidates, by their places, whose chunks go at once: for each step their ``keys`` and the chunk of each."""

    members: tuple[int, ...]
    keys: list[float]
    chunks: list[tuple[NDArray[np.intp], ...]]

    def units(self, position: int) -> int:
        return sum(map(len, self.chunks[position]))


def _bundles(candidates: Sequence[Candidate], together: Sequence[Sequence[int]], scope: Scope) -> list[_Bundle]:
    """Those that go together, and each of the others alone, in the order of the candidates."""
    tied = {index: tuple(places) for places in together for index in places}
    found = []
    for members in dict.fromkeys(tied.get(index, (index,)) for index in range(len(candidates))):
        chunks = [candidates[index].chunks() for index in members]
        keys = [_keys(candidates[index], own, scope) for index, own in zip(members, chunks, strict=True)]
        means = [float(np.mean(each)) if len(each) > 1 else each[0] for each in zip(*keys, strict=False)]
        found.append(_Bundle(members, means, list(zip(*chunks, strict=False))))
    return found


def _is_dear(candidate: Candidate, cost: UnitCost) -> bool:
    """Whether the copies that the group needs are larger than all that can go of it."""
    atom = candidate.group.atom
    return cost.needs_copy(atom) and cost.saving(atom, max(1, candidate.floor)).params < 0


def _keys(candidate: Candidate, chunks: list[NDArray[np.intp]], scope: Scope) -> list[float]:
    """What the chunks of one group are ordered by."""
    if scope == "group":
        return [float(end) / len(candidate.scores) for end in np.cumsum([len(chunk) for chunk in chunks])]
    return [float(np.mean(candidate.scores[chunk])) for chunk in chunks]


def _move(
    candidates: Sequence[Candidate], bundle: _Bundle, position: int, gone: list[int], cost: UnitCost, sign: int
) -> None:
    """Take the chunks at a position (``sign`` 1), or put them back (-1)."""
    for index, chunk in zip(bundle.members, bundle.chunks[position], strict=True):
        gone[index] += sign * len(chunk)
        cost.keep(candidates[index].group.atom, len(candidates[index].scores) - gone[index])


def _put_back(
    candidates: Sequence[Candidate],
    bundles: Sequence[_Bundle],
    taken: list[tuple[int, int]],
    gone: list[int],
    cost: UnitCost,
    is_met: Met,
) -> None:
    """The last, largest step overshoots; some of what went before it may stay after all."""
    closed: set[int] = set()  # bundles of which a later chunk had to go
    for index, position in reversed(taken):
        if index in closed:
            continue
        _move(candidates, bundles[index], position, gone, cost, -1)
        if not is_met(cost.cost, sum(gone)):
            _move(candidates, bundles[index], position, gone, cost, 1)
            closed.add(index)
