"""Where a time is the target: what a pass would remove for a budget, and what it may ask about times.

The room that measures stands above the passes; these are the types in which both speak.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

from graphprune.analysis.cost import part_cost
from graphprune.analysis.model_analysis import ModelAnalysis
from graphprune.axes.algebra import Atom
from graphprune.pass_infra.context import Context
from graphprune.plan.plan import Decision
from graphprune.plan.target import Target

T = TypeVar("T")

_LEAST = 1e-6  # share of the MACs: a target of nothing is none


@dataclass(frozen=True)
class Proposal(Generic[T]):
    """Something that can be measured: ``estimate`` is its time by the table, as a share of the present time."""

    key: Hashable
    estimate: float
    thing: T


Proposals = Callable[[float], Proposal[Decision]]
"""The best decision whose estimate fits a budget (a share of the present time), or, where none does,
the least there is.
"""


class EstimatedTimes(Protocol):
    """Estimated times of one network, as shares of what it takes as it is."""

    def share(self, counts: Mapping[Atom, int]) -> float:
        """With so many indices of each atom left."""
        ...

    def group_share(self, atom: Atom, count: int, counts: Mapping[Atom, int]) -> float:
        """The same for those pieces alone that ``atom`` shrinks, with ``count`` of it left."""
        ...

    def without(self, nodes: Collection[str]) -> float:
        """Without the pieces whose layer is one of ``nodes``."""
        ...


class Profiler(Protocol):
    """Measures a network piece by piece."""

    def table(
        self, analysis: ModelAnalysis, levels: Mapping[Atom, Sequence[int]], steps: Mapping[Atom, int]
    ) -> EstimatedTimes:
        """With each atom at its size and at each of its ``levels``; multiples of ``steps`` are taken to be monotone."""
        ...


class ByMacs:
    """For any pass: what it decides when as large a share of the MACs may be left as of the time.
    No table is needed.
    """

    def __init__(self, decide: Callable[[Context], Decision], context: Context) -> None:
        self._decide, self._context = decide, context
        self._asked: dict[float, Proposal[Decision]] = {}

    def __call__(self, budget: float) -> Proposal[Decision]:
        share = max(_LEAST, budget)
        if share not in self._asked:
            context = self._context
            target = Target("flops", share * context.analysis.cost.macs / context.goal.dense.macs)
            decision = self._decide(replace(context, goal=replace(context.goal, target=target, is_last=False)))
            self._asked[share] = Proposal(
                decision_key(decision), self._share_left(decision), replace(decision, limit="")
            )
        return self._asked[share]

    def _share_left(self, decision: Decision) -> float:
        """Of the present MACs."""
        analysis = self._context.analysis
        blocks = {join.node: join.block for join in analysis.all_joins if join.block}
        left = analysis.cost.macs
        if decision.units:
            atoms = {group.name: group.atom for group in analysis.groups}
            cost = analysis.typed_cost()
            for units in decision.units:
                cost.keep(atoms[units.group], units.size - len(units.removed))
            left = cost.cost.macs
        gone = [block for block in decision.blocks if not block.is_linearised]
        left -= sum(part_cost(analysis.model, blocks[b.join].nodes, analysis.sizes).macs for b in gone)
        left -= sum(block.macs for block in decision.blocks if block.is_linearised)
        return max(0, left) / analysis.cost.macs


def decision_key(decision: Decision) -> Hashable:
    """Equal for decisions that remove the same."""
    return tuple((block.join, block.is_linearised) for block in decision.blocks), tuple(
        (u.group, u.removed) for u in decision.units
    )
