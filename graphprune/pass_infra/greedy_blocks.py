"""Blocks removed one after the other: as many as a goal needs, each looked for when the first goal needs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count

from graphprune.analysis.cost import Cost
from graphprune.analysis.stages import Allowance
from graphprune.pass_infra.context import Context
from graphprune.plan.goal import Goal
from graphprune.plan.plan import Decision, RemovedBlock


@dataclass(frozen=True)
class _Mark:
    """After so many entries of the plan: what is left, and how many notes there were."""

    removed: int
    now: Cost
    notes: int


class Greedy:
    """What goes for one goal after another: the same blocks in the same order, more or fewer of them.

    ``frame`` is the decision without its blocks, its notes are the first; ``next_of`` finds what goes next. ``costs``
    are what each candidate saves, by join.
    """

    def __init__(
        self,
        context: Context,
        rules: Allowance,
        frame: Decision,
        next_of: Callable[[Greedy, Goal], Iterator[RemovedBlock]],
        costs: Mapping[str, Cost],
    ) -> None:
        self._rules, self._frame, self._next_of = rules, frame, next_of
        self._costs = costs
        self.removed: list[RemovedBlock] = []
        self.notes = list(frame.notes)
        self._marks = [_Mark(0, context.analysis.cost, len(self.notes))]

    @property
    def now(self) -> Cost:
        """What all that is known to go leaves."""
        return self._marks[-1].now

    @property
    def steps(self) -> int:
        """How many candidates these are; one that is a whole layer has several entries."""
        return len(self._marks) - 1

    @property
    def joins(self) -> frozenset[str]:
        """Of all that is known to go."""
        return frozenset(block.join for block in self.removed)

    def __call__(self, goal: Goal) -> Decision:
        """As few blocks as meet the goal, or all that may go, with the limit that stands before it."""
        limit = ""
        for place in count():
            mark = self._marks[place]
            if goal.is_met(mark.now, place, self._frame.considered) or (goal.in_rounds and place):
                break
            gone = frozenset(block.join for block in self.removed[: mark.removed])
            best_case = _best_case(goal, self._rules, self._costs, gone, mark.now, place)
            if not self._rules.allowed(gone) or (best_case and goal.is_last):
                limit = best_case
                break
            if place + 1 == len(self._marks):
                self._go_on(goal)
        notes = tuple(dict.fromkeys(self.notes[: mark.notes]))
        return replace(self._frame, blocks=tuple(self.removed[: mark.removed]), limit=limit, notes=notes)

    def _go_on(self, goal: Goal) -> None:
        new = list(self._next_of(self, goal))
        cost = self._costs[new[-1].join]
        self.removed += new
        now = Cost(self.now.macs - cost.macs, self.now.params - cost.params)
        self._marks.append(_Mark(len(self.removed), now, len(self.notes)))


def _best_case(
    goal: Goal, rules: Allowance, costs: Mapping[str, Cost], gone: frozenset[str], now: Cost, steps: int
) -> str:
    """Why the target is out of reach even if everything allowed went; empty when it is not. Found before scoring.

    ``gone`` are the joins that the ``steps`` so far took.
    """
    kind = goal.target.kind
    weight = {join: cost.params if kind == "params" else cost.macs for join, cost in costs.items()}
    further = rules.most(gone, weight)
    macs = now.macs - sum(costs[block.join].macs for block in further)
    params = now.params - sum(costs[block.join].params for block in further)
    gone_then, considered = steps + len(further), len(rules.candidates)
    if goal.is_met(Cost(macs, params), gone_then, considered):
        return ""
    best = goal.reached(Cost(macs, params), gone_then, considered)
    what = "layer" if any(len(block.pieces) > 1 for block in rules.candidates) else "block"
    count = goal.removed_before + gone_then
    counted = f"{count} {what}{'s' if count != 1 else ''}"
    return f"at most {kind}={best:.4g} with {counted} gone, because of {rules.rules}"
