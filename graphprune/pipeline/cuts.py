"""Several cuts of one network from one scoring: the passes in turn, each asked for one target after another."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from graphprune.analysis.cost import Cost
from graphprune.analysis.model_analysis import ModelAnalysis
from graphprune.pass_infra.base import Choices, Pass
from graphprune.pass_infra.context import Context
from graphprune.pass_infra.proposals import decision_key
from graphprune.pipeline.between import verify
from graphprune.pipeline.decide import check_align, context_of
from graphprune.pipeline.rounds import fitter, repairs
from graphprune.plan.goal import Goal
from graphprune.plan.plan import Decision
from graphprune.plan.target import Target
from graphprune.repair.history import History
from graphprune.repair.refits import Refits
from graphprune.rewrite.apply import execute
from graphprune.rewrite.removal import Removal
from graphprune.run.loaded import LoadedRun
from graphprune.run.options import RunOptions
from graphprune.workers import Workers

_ALL = 1e-6  # share of the cost that no pass leaves


@dataclass(frozen=True)
class Cut:
    """What goes for a target, carried out in memory: the network without it, and the removals that led there."""

    target: Target
    decisions: tuple[Decision, ...]
    small: ModelAnalysis
    steps: tuple[Removal, ...]
    is_met: bool

    @property
    def key(self) -> Hashable:
        """Equal for cuts that remove the same."""
        return tuple(decision_key(decision) for decision in self.decisions if decision.removed_count)

    @property
    def removed(self) -> int:
        """Blocks and units that went."""
        return sum(decision.removed_count for decision in self.decisions)

    def reached(self, dense: Cost) -> float:
        """The target's figure, against the cost of the network as given."""
        return self.target.reached(dense, self.small.cost, self.removed, self.considered)

    @property
    def considered(self) -> int:
        """Of how many."""
        return sum(decision.considered for decision in self.decisions)


@dataclass(frozen=True)
class _Reached:
    """Where a pass that goes in steps is after so many of them."""

    decision: Decision
    analysis: ModelAnalysis
    steps: tuple[Removal, ...]


class ScoredCuts:
    """Asked for one target after another with :meth:`at`; a pass scores once what it is given.

    What a pass refits as it decides is in ``refits`` until the next cut.
    """

    def __init__(
        self, loaded: LoadedRun, passes: tuple[Pass, ...], options: RunOptions, workers: Workers | None
    ) -> None:
        check_align(options)
        self._loaded, self._passes, self._options, self._workers = loaded, passes, options, workers
        self._stack = ExitStack()
        self._choices: dict[Hashable, Choices] = {}
        self._walks: dict[Hashable, tuple[list[_Reached], Iterator[_Reached]]] = {}
        self.refits = Refits()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def at(self, target: Target, *, or_all: bool = False) -> Cut:
        """What goes for ``target``; where that is out of reach, ``or_all`` that may go."""
        dense, small = self._loaded.analysis.cost, self._loaded.analysis
        decisions: list[Decision] = []
        steps: list[Removal] = []
        for number, pass_ in enumerate(self._passes):
            removed, considered = sum(d.removed_count for d in decisions), sum(d.considered for d in decisions)
            is_last = number + 1 == len(self._passes)
            goal = Goal(target, dense, removed, considered, is_last)
            context = self._context(small, goal, steps)
            key = (number, target.kind, *map(decision_key, decisions))
            if pass_.goes_in_steps():
                for reached in self._in_steps(key, pass_, context):
                    decisions.append(reached.decision)
                    steps += reached.steps
                    small = reached.analysis
                continue
            pass_.requires(context)
            if key not in self._choices:
                self._choices[key] = pass_.choices(context, self._stack)
            decision = self._choices[key](goal)
            if or_all and decision.limit and not decision.removed_count:
                decision = self._choices[key](replace(goal, is_last=False))  # which looks no further than it can go
            pass_.ensures(context, decision)
            small = self._carry_out(steps)(small, decision)
            verify(decision, small, 0.0)
            decisions.append(decision)
        cut = Cut(target, tuple(decisions), small, tuple(steps), is_met=False)
        return replace(cut, is_met=target.is_met(dense, small.cost, cut.removed, cut.considered))

    def _context(self, small: ModelAnalysis, goal: Goal, steps: list[Removal]) -> Context:
        loaded, options = self._loaded, self._options
        history = History(loaded.model, tuple(steps), not steps, repairs(options, loaded.data))
        return context_of(loaded, small, goal, history, self.refits, self._workers, options)

    def _carry_out(self, steps: list[Removal]) -> Callable[[ModelAnalysis, Decision], ModelAnalysis]:
        loaded, options = self._loaded, self._options
        fit = fitter(loaded, options, lambda: steps)
        return lambda analysis, decision: execute(analysis, decision, steps, loaded.feeds, options.runtime, fit)

    def _in_steps(self, key: Hashable, pass_: Pass, context: Context) -> Iterator[_Reached]:
        """The steps that the goal needs: those that are known, and then new ones."""
        if key not in self._walks:
            self._walks[key] = ([], self._walk(pass_, context))
        known, further = self._walks[key]
        goal, place, removed, considered = context.goal, 0, 0, 0
        now = context.analysis.cost
        while not goal.is_met(now, removed, considered):
            if place == len(known):
                reached = next(further, None)
                if reached is None:
                    return
                known.append(reached)
            yield known[place]
            now = known[place].analysis.cost
            removed += known[place].decision.removed_count
            considered += known[place].decision.considered
            place += 1

    def _walk(self, pass_: Pass, context: Context) -> Iterator[_Reached]:
        """Step by step as far as the pass goes: no target stops it."""
        endless = replace(context.goal, target=Target(context.goal.target.kind, _ALL), is_last=False)
        steps: list[Removal] = []
        for decision, analysis in pass_.run(replace(context, goal=endless), self._carry_out(steps)):
            yield _Reached(replace(decision, limit=""), analysis, tuple(steps))
            steps.clear()
