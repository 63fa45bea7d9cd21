"""Proposals of a pass that removes blocks one after the other: how many of them, in its order, for a budget of time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from graphprune.pass_infra.context import Context
from graphprune.pass_infra.proposals import EstimatedTimes, Proposal
from graphprune.plan.plan import Decision
from graphprune.plan.target import Target

_BEYOND = 0.85  # of the MACs that the table thinks are enough, so that one question is
_LEAST = 1e-6


class Prefixes:
    """The pass is asked for fewer and fewer MACs until the blocks it removes take enough time;
    each prefix is a proposal.
    """

    def __init__(self, decide: Callable[[Context], Decision], context: Context, table: EstimatedTimes) -> None:
        self._decide, self._context, self._table = decide, context, table
        self._nodes = {join.block.join: join.block.nodes for join in context.analysis.all_joins if join.block}
        self._decision: Decision | None = None
        self._asked = 1.0
        self._is_exhausted = False

    def __call__(self, budget: float) -> Proposal[Decision]:
        self._extend(budget)
        estimates = self.estimates()
        for count, estimate in enumerate(estimates):
            if estimate <= budget and self._is_whole(count):
                return self._proposal(count, estimate)
        return self._proposal(len(estimates) - 1, estimates[-1])

    def _is_whole(self, count: int) -> bool:
        """Whether no layer is cut in two behind so many blocks."""
        return count == 0 or self._decision is None or self._decision.blocks[count - 1].is_part is not True

    def estimates(self) -> list[float]:
        """Estimated share of the present time without the first 0, 1, 2 ... blocks."""
        assert self._decision is not None
        gone: list[str] = []
        shares = [1.0]
        for block in self._decision.blocks:
            gone += self._nodes[block.join]
            shares.append(self._table.without(set(gone)))
        return shares

    def _extend(self, budget: float) -> None:
        """Ask for more blocks until the table says that they are enough, or there are no more."""
        while not self._is_exhausted and (self._decision is None or self.estimates()[-1] > budget):
            self._asked = max(_LEAST, _BEYOND * min(budget, self._asked))
            left = self._asked * self._context.analysis.cost.macs / self._context.goal.dense.macs
            goal = replace(self._context.goal, target=Target("flops", left), is_last=False)
            self._decision = self._decide(replace(self._context, goal=goal))
            macs = sum(block.macs for block in self._decision.blocks)
            reached = (self._context.analysis.cost.macs - macs) / self._context.analysis.cost.macs
            self._is_exhausted = reached > self._asked  # by its rules it may take no more

    def _proposal(self, count: int, estimate: float) -> Proposal[Decision]:
        assert self._decision is not None
        return Proposal(count, estimate, replace(self._decision, blocks=self._decision.blocks[:count], limit=""))
