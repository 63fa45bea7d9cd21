"""Proposals of a pass that cuts units: what of its scored groups goes for a budget of time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from graphprune.analysis.groups import Group
from graphprune.axes.algebra import Atom
from graphprune.pass_infra.context import Context
from graphprune.pass_infra.proposals import EstimatedTimes, Proposal
from graphprune.pass_infra.removed_units import removed_units
from graphprune.plan.knapsack import Option, solve
from graphprune.plan.multiples import Multiples
from graphprune.plan.plan import Decision
from graphprune.plan.target import Target

_MOST_LEVELS = 12
_NO_GAIN = 0.98  # a width that takes more than this share of a wider one's time is no step of the staircase
_LINEARISATIONS = 4
_CLOSE = 0.005
_HALVINGS = 12


@dataclass(frozen=True)
class ScoredGroups:
    """What the pass ``spec`` thinks of groups: the importance of their units (low goes first),
    of which ``most`` may go.
    """

    spec: str
    context: Context
    groups: Sequence[Group]
    scores: Sequence[NDArray[np.float64]]
    notes: tuple[str, ...]
    most: int


def even_steps(multiples: Multiples, groups: Sequence[Group]) -> dict[Atom, int]:
    """The step of the runtime's kernels for each group."""
    return {group.atom: multiples.of(group.kind, group.size) for group in groups}


def levels(multiples: Multiples, least: Sequence[int], groups: Sequence[Group]) -> dict[Atom, list[int]]:
    """The counts at which groups are timed: steps of the runtime's kernels and half of them,
    down to the ``least`` of each.

    Where the user asks for multiples, these.
    """
    found = {}
    for group, floor in zip(groups, least, strict=True):
        step = multiples.halved().of(group.kind, group.size)
        while group.size / step > _MOST_LEVELS * 2:
            step *= 2
        found[group.atom] = [count for count in range(group.size - 1, 0, -1) if count % step == 0 and count >= floor]
    return found


class Knapsack:
    """Units of all groups compete: least importance lost for the time, by the table.

    A layer's time depends on the groups at both of its ends; the cost of a group is taken with the others as the last
    solution left them, and solved again.
    """

    def __init__(self, scored: ScoredGroups, table: EstimatedTimes, levels: Mapping[Atom, Sequence[int]]) -> None:
        self._scored, self._table, self._levels = scored, table, levels
        lowest = min((float(values.min()) for values in scored.scores), default=0.0)
        shift = min(0.0, lowest)  # nothing gains by going
        self._lost = [
            np.concatenate([[0.0], np.cumsum(np.sort(values - shift, kind="stable"))]) for values in scored.scores
        ]
        self._most = scored.most
        self._least: Proposal[Decision] | None = None

    def __call__(self, budget: float) -> Proposal[Decision]:
        counts = self._solved(budget)
        if counts is None:
            if self._least is None:
                self._least = self._proposal(self._cheapest())
            return self._least
        return self._proposal(counts)

    def _solved(self, budget: float) -> dict[Atom, int] | None:
        """Counts that fit the budget; the table is not additive,
        so the budget of the sum is corrected by what came out.
        """
        counts: dict[Atom, int] = {group.atom: group.size for group in self._scored.groups}
        best: dict[Atom, int] | None = None
        slack = 0.0
        for _ in range(_LINEARISATIONS):
            present = self._table.share(counts)
            options = [self._options(index, counts) for index in range(len(self._scored.groups))]
            here = sum(self._table.group_share(g.atom, counts[g.atom], counts) for g in self._scored.groups)
            chosen = solve(options, budget - present + here + slack, self._most)
            if chosen is None:
                return best
            counts = {group.atom: option.kept for group, option in zip(self._scored.groups, chosen, strict=True)}
            share = self._table.share(counts)
            if share <= budget + 1e-9 and (best is None or self._loss(counts) < self._loss(best)):
                best = dict(counts)
            if abs(share - budget) <= _CLOSE and share <= budget + 1e-9:
                break
            slack = 0.0 if share <= budget else slack + budget - share
        return best

    def _options(self, index: int, counts: Mapping[Atom, int]) -> list[Option]:
        """Those widths of a group that a wider one does not make needless: the steps of the measured staircase."""
        group, lost = self._scored.groups[index], self._lost[index]
        options: list[Option] = []
        for kept in (group.size, *self._levels[group.atom]):
            cost = self._table.group_share(group.atom, kept, counts)
            if not options or cost < _NO_GAIN * options[-1].cost:
                options.append(Option(kept, float(lost[group.size - kept]), cost))
        return options

    def _cheapest(self) -> dict[Atom, int]:
        """As little as the pass may leave; of widths that cost about the same, the narrowest."""
        counts: dict[Atom, int] = {group.atom: group.size for group in self._scored.groups}
        left = self._most
        for group in self._scored.groups:
            fitting = [kept for kept in (group.size, *self._levels[group.atom]) if group.size - kept <= left]
            costs = {kept: self._table.group_share(group.atom, kept, counts) for kept in fitting}
            least = min(costs.values())
            counts[group.atom] = min(kept for kept, cost in costs.items() if cost <= least / _NO_GAIN)
            left -= group.size - counts[group.atom]
        return counts

    def _loss(self, counts: Mapping[Atom, int]) -> float:
        groups = self._scored.groups
        return sum(float(lost[g.size - counts[g.atom]]) for g, lost in zip(groups, self._lost, strict=True))

    def _proposal(self, counts: Mapping[Atom, int]) -> Proposal[Decision]:
        scored = self._scored
        removed = {
            group.atom: np.sort(np.argsort(values, kind="stable")[: group.size - counts[group.atom]])
            for group, values in zip(scored.groups, scored.scores, strict=True)
        }
        units = removed_units(scored.groups, scored.scores, removed, scored.context.analysis.typed_cost())
        considered = sum(group.size for group in scored.groups)
        decision = Decision(scored.spec, units=units, considered=considered, notes=scored.notes)
        return Proposal(tuple(counts.values()), self._table.share(counts), decision)


class Rule:
    """The pass has its own rule for how much of each group goes: it is asked for MACs until the table's time fits."""

    def __init__(self, choose: Callable[[Context], Decision], scored: ScoredGroups, table: EstimatedTimes) -> None:
        self._choose, self._scored, self._table = choose, scored, table
        self._asked: dict[float, Proposal[Decision]] = {}

    def __call__(self, budget: float) -> Proposal[Decision]:
        low, high = 0.0, 1.0  # shares of the MACs: one that fits, one that does not
        best = self._ask(low)
        if best.estimate > budget:
            return best
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            proposal = self._ask(middle)
            if proposal.estimate <= budget:
                low, best = middle, proposal
            else:
                high = middle
        return best

    def _ask(self, share: float) -> Proposal[Decision]:
        """What the pass chooses when ``share`` of what MACs there are may be left."""
        if share not in self._asked:
            scored, context = self._scored, self._scored.context
            left = max(1e-6, share * context.analysis.cost.macs / context.goal.dense.macs)
            goal = replace(context.goal, target=Target("flops", left), is_last=True)
            decision = self._choose(replace(context, goal=goal))
            gone = {units.group: len(units.removed) for units in decision.units}
            counts = {group.atom: group.size - gone.get(group.name, 0) for group in scored.groups}
            key = tuple(counts.values())
            self._asked[share] = Proposal(key, self._table.share(counts), replace(decision, limit=""))
        return self._asked[share]
