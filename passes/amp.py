"""Pass ``amp``: heads and MLP neurons out of one budget, the same number from every layer.

AMP (IJCNN 2025). A share rho of the parameters of attention and MLP goes: ``n_h = round(rho H)`` heads, the least important
by head projection, and so many neurons that together the budget is met to within half a neuron per layer
(``budget=exact``), or as the authors' code rounds (``budget=released``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from graphprune.axes.algebra import Atom
from graphprune.contract import Context
from graphprune.errors import OptionError
from graphprune.importance.budget import Rounding, amp_counts
from graphprune.passes.head_projection import projected
from graphprune.plan import Decision
from graphprune.scoring.projection import HEAD_KINDS
from graphprune.structure.groups import Group
from graphprune.typed_cost import TypedCost
from graphprune.unit_pass import UnitPass, removed_units


@dataclass(frozen=True)
class AMP(UnitPass):
    """One budget for heads and neurons, uniform over the layers."""

    name: ClassVar[str] = "amp"
    paper: ClassVar[str] = "AMP: Attention Heads and MLP Pruning, IJCNN 2025"
    kinds: ClassVar[tuple[str, ...]] = ("heads", "kv-heads", "neurons")

    budget: Rounding = field(default="exact", metadata={"help": "parameter-exact rounding, or the authors' code"})

    def decide(self, context: Context) -> Decision:
        self.check()
        if context.target.kind == "removed":
            raise OptionError("pass amp cannot aim at a number of units", "give --target params=, flops= or ratio=")
        groups = self.eligible(context)
        considered = sum(group.size for group in groups)
        if context.is_met(context.now, 0, considered):
            return Decision(str(self), considered=considered)
        heads = [group for group in groups if group.kind in HEAD_KINDS]
        neurons = [group for group in groups if group.kind not in HEAD_KINDS]
        if not heads or not neurons:
            missing = "attention heads" if not heads else "MLP neurons"
            other = "neuron-projection" if not heads else "head-projection"
            raise OptionError(f"pass amp finds no {missing} to prune", f"use the pass {other}")
        counts = self._counts(context, heads, neurons)
        scores = projected(self.name, context, groups)
        removed = {
            group.atom: np.sort(np.argsort(values, kind="stable")[: counts[group.atom]])
            for group, values in zip(groups, scores, strict=True)
        }
        return self._decision(context, groups, scores, removed)

    def score(self, context: Context, groups: Sequence[Group]) -> tuple[list[NDArray[np.float64]], tuple[str, ...]]:
        return projected(self.name, context, groups), ()

    def _decision(
        self, context: Context, groups: Sequence[Group], scores: list[NDArray[np.float64]],
        removed: dict[Atom, NDArray[np.intp]],
    ) -> Decision:  # fmt: skip
        cost = context.anatomy.typed_cost()
        for group in groups:
            cost.keep(group.atom, group.size - len(removed[group.atom]))
        gone, considered = sum(map(len, removed.values())), sum(group.size for group in groups)
        limit = "" if context.is_met(cost.cost, gone, considered) else self._limit(context, cost, gone, considered)
        units = removed_units(groups, scores, removed, context.anatomy.typed_cost())
        return Decision(str(self), units=units, limit=limit, considered=considered)

    def _counts(self, context: Context, heads: list[Group], neurons: list[Group]) -> dict[Atom, int]:
        """How many units of each group go."""
        cost = context.anatomy.typed_cost()
        price = {group.atom: self._price(context, cost, group) for group in (*heads, *neurons)}
        whole = sum(group.size * price[group.atom] for group in (*heads, *neurons))
        goal = self._goal(context, whole)
        rho = min(goal / whole, 0.999) if self.ratio is None else min(goal / whole, self.ratio)
        if self.budget == "released":
            counts = {}
            for index, group in enumerate(heads):
                layer = neurons[index % len(neurons)]
                n = amp_counts(group.size, layer.size, price[group.atom], price[layer.atom], rho, "released")
                counts[group.atom], counts[layer.atom] = n
            return counts
        counts = {group.atom: min(round(rho * group.size), group.size - self.least(group)) for group in heads}
        left = rho * whole - sum(counts[group.atom] * price[group.atom] for group in heads)
        share = left / sum(group.size * price[group.atom] for group in neurons)
        for group in neurons:
            counts[group.atom] = self._rounded(group, share * group.size, context.align)
        self._complete(context, cost, heads, neurons, counts)
        return counts

    def _rounded(self, group: Group, count: float, align: int) -> int:
        """A whole number of neurons to remove, so that a multiple of ``align`` stays."""
        kept = group.size - max(0, round(count))
        if align > 1 and kept % align:
            kept = max(kept - kept % align, min(align, group.size))
        return group.size - max(kept, self.least(group))

    def _complete(
        self, context: Context, cost: TypedCost, heads: list[Group], neurons: list[Group], counts: dict[Atom, int]
    ) -> None:
        """Half a neuron per layer may be missing: one more from every layer meets the target."""
        considered = sum(group.size for group in (*heads, *neurons))
        for group in (*heads, *neurons):
            cost.keep(group.atom, group.size - counts[group.atom])
        while not (context.is_met(cost.cost, sum(counts.values()), considered) or self.ratio is not None):
            room = [g for g in neurons if g.size - counts[g.atom] - context.align >= max(1, self.least(g))]
            if not room:
                return
            for group in room:
                counts[group.atom] += context.align
                cost.keep(group.atom, group.size - counts[group.atom])

    def _price(self, context: Context, cost: TypedCost, group: Group) -> int:
        """What one unit costs, in the target's currency."""
        saving = cost.saving(group.atom, group.size - 1)
        return saving.macs if context.target.kind == "flops" else saving.params

    def _goal(self, context: Context, whole: int) -> float:
        """How much of it has to go."""
        target, dense, now = context.target, context.dense, context.now
        if target.kind == "ratio":
            return target.value * whole
        if target.kind == "flops":
            return now.macs - target.value * dense.macs
        return now.params - target.value * dense.params
