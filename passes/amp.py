"""Pass ``amp``: heads and MLP neurons out of one budget, the same number from every layer.

AMP (IJCNN 2025). A share rho of the parameters of attention and MLP goes: ``n_h = round(rho H)`` heads,
the least important by head projection, and so many neurons that together the budget is met to within half a neuron per
layer (``budget=exact``), or as the authors' code rounds (``budget=released``).
With a target of ``ratio`` the budget counts units, and both roundings agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import floor
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from graphprune.analysis.groups import Group
from graphprune.analysis.unit_cost import UnitCost
from graphprune.axes.algebra import Atom
from graphprune.errors import NothingToPrune, OptionError
from graphprune.importance.budget import Rounding, amp_counts
from graphprune.pass_infra.context import Context
from graphprune.pass_infra.projected import projected
from graphprune.pass_infra.removed_units import removed_units
from graphprune.pass_infra.unit_pass import UnitPass
from graphprune.passes.head_projection import UNREAD, projectable
from graphprune.plan.multiples import Multiples
from graphprune.plan.plan import Decision
from graphprune.plan.selection import Scope
from graphprune.scoring.projection import HEAD_KINDS


@dataclass(frozen=True)
class AMP(UnitPass):
    """Heads and neurons out of one budget, the same number from every layer; for transformers."""

    name: ClassVar[str] = "amp"
    paper: ClassVar[str] = "AMP: Attention Heads and MLP Pruning, IJCNN 2025"
    kinds: ClassVar[tuple[str, ...]] = ("heads", "kv-heads", "neurons")
    unscored: ClassVar[str] = UNREAD

    scope: Scope = field(default="group", metadata={"help": "the same share of each group; there is no other"})
    budget: Rounding = field(default="exact", metadata={"help": "parameter-exact rounding, or the authors' code"})

    def requires(self, context: Context) -> None:
        super().requires(context)
        if self.widths or self.scope != "group":
            option = "widths" if self.widths else "scope"
            raise OptionError(
                f"pass amp takes the same share of heads and neurons from every layer and has no {option} to choose",
                f"leave {option} out, or use the passes head-projection and neuron-projection",
            )
        if context.goal.target.kind == "removed":
            raise OptionError("pass amp cannot aim at a number of units", "give --target params=, flops= or ratio=")

    def choose(
        self, context: Context, groups: Sequence[Group], scores: Sequence[NDArray[np.float64]], notes: tuple[str, ...]
    ) -> Decision:
        considered = sum(group.size for group in groups)
        counts = self._counts(context, *_heads_and_neurons(groups))
        removed = {
            group.atom: np.sort(np.argsort(values, kind="stable")[: counts[group.atom]])
            for group, values in zip(groups, scores, strict=True)
        }
        cost = context.analysis.typed_cost()
        for group in groups:
            cost.keep(group.atom, group.size - counts[group.atom])
        gone = sum(counts.values())
        limit = "" if context.goal.is_met(cost.cost, gone, considered) else self.limit(context, cost, gone, considered)
        units = removed_units(groups, scores, removed, context.analysis.typed_cost())
        return Decision(str(self), units=units, limit=limit, considered=considered, notes=notes)

    def scorable(self, context: Context, groups: Sequence[Group]) -> list[Group]:
        return projectable(context, groups)

    def score(self, context: Context, groups: Sequence[Group]) -> tuple[list[NDArray[np.float64]], tuple[str, ...]]:
        heads, neurons = _heads_and_neurons(groups)
        if not heads or not neurons:
            missing = "attention heads" if not heads else "MLP neurons"
            other = "neuron-projection" if not heads else "head-projection"
            raise NothingToPrune(f"pass amp finds no {missing} to prune", f"use the pass {other}")
        return projected(f"{self.name}: activations", context, groups), ()

    def limit_rules(self, context: Context) -> list[str]:
        own = [f"the rounding of budget={self.budget}"] if self.budget == "released" else []
        return [*super().limit_rules(context), *own]

    def _counts(self, context: Context, heads: list[Group], neurons: list[Group]) -> dict[Atom, int]:
        """How many units of each group go."""
        groups = (*heads, *neurons)
        multiples = context.widths.measured()
        considered = sum(group.size for group in groups)
        cost = context.analysis.typed_cost()
        price = {group.atom: self._price(context, cost, group) for group in groups}
        goal = self._goal(context, considered) + _copies(context, cost, groups, price)
        rho = min(goal / sum(group.size * price[group.atom] for group in groups), 0.999)
        if self.budget == "released":
            counts = self._released(multiples, heads, neurons, rho)
        else:
            counts = self._shares(multiples, heads, neurons, price, rho)
        most = self.most(context, considered)
        if sum(counts.values()) > most and self.ratio is not None:
            return self._shares(multiples, heads, neurons, dict.fromkeys(price, 1), self.ratio, is_cap=True)
        if self.budget == "exact":
            self._complete(context, multiples, cost, groups, neurons, counts, most)
        return counts

    def _shares(
        self,
        multiples: Multiples,
        heads: list[Group],
        neurons: list[Group],
        price: Mapping[Atom, int],
        rho: float,
        *,
        is_cap: bool = False,
    ) -> dict[Atom, int]:
        """A share ``rho`` of the budget: whole heads, and neurons for what is left."""
        counts = {group.atom: min(round(rho * group.size), group.size - self.least(group)) for group in heads}
        whole = sum(group.size * price[group.atom] for group in (*heads, *neurons))
        left = rho * whole - sum(counts[group.atom] * price[group.atom] for group in heads)
        share = max(0.0, left / sum(group.size * price[group.atom] for group in neurons))
        for group in neurons:
            count = floor(share * group.size) if is_cap else round(share * group.size)
            counts[group.atom] = self._aligned(group, count, multiples.of(group.kind, group.size), is_cap)
        return counts

    def _released(self, multiples: Multiples, heads: list[Group], neurons: list[Group], rho: float) -> dict[Atom, int]:
        """As the authors' code rounds; the i-th attention and the i-th MLP are a layer."""
        counts = {}
        for index, group in enumerate(heads):
            layer = neurons[index % len(neurons)]
            count = amp_counts(group.size, layer.size, 1, 1, rho, "released").heads
            counts[group.atom] = min(count, group.size - self.least(group))
        for index, group in enumerate(neurons):
            layer = heads[index % len(heads)]
            count = amp_counts(layer.size, group.size, 1, 1, rho, "released").neurons
            counts[group.atom] = self._aligned(group, count, multiples.of(group.kind, group.size), False)
        return counts

    def _aligned(self, group: Group, count: int, align: int, is_cap: bool) -> int:
        """A number of neurons to remove near ``count``, such that a multiple of ``align`` stays, or all do."""
        least = self.least(group)
        stay = max(group.size - count, least)
        if stay == group.size:
            return 0
        multiple = stay - stay % align
        if multiple < least or (is_cap and multiple != stay):
            multiple += align
        return max(0, group.size - multiple)

    def _complete(
        self,
        context: Context,
        multiples: Multiples,
        cost: UnitCost,
        groups: Sequence[Group],
        neurons: list[Group],
        counts: dict[Atom, int],
        most: int,
    ) -> None:
        """Half a neuron per layer may be missing: one more from every layer meets the target."""
        considered = sum(group.size for group in groups)
        for group in groups:
            cost.keep(group.atom, group.size - counts[group.atom])
        while not context.goal.is_met(cost.cost, sum(counts.values()), considered):
            steps: list[tuple[Group, int]] = []
            for group in neurons:
                stay = group.size - counts[group.atom]
                multiple = multiples.of(group.kind, group.size)
                step = stay % multiple or multiple
                if stay - step >= self.least(group):
                    steps.append((group, step))
            if not steps or sum(counts.values()) + sum(step for _, step in steps) > most:
                return
            for group, step in steps:
                counts[group.atom] += step
                cost.keep(group.atom, group.size - counts[group.atom])

    def _price(self, context: Context, cost: UnitCost, group: Group) -> int:
        """What one unit costs, in the target's currency."""
        if context.goal.target.kind == "ratio":
            return 1
        saving = cost.unit_saving(group.atom)
        return saving.macs if context.goal.target.kind == "flops" else saving.params

    def _goal(self, context: Context, considered: int) -> float:
        """How much of it has to go."""
        goal, now = context.goal, context.analysis.cost
        target, dense = goal.target, goal.dense
        if target.kind == "ratio":
            return target.value * (goal.considered_before + considered) - goal.removed_before
        if target.kind == "flops":
            return now.macs - target.value * dense.macs
        return now.params - target.value * dense.params


def _copies(context: Context, cost: UnitCost, groups: Sequence[Group], price: Mapping[Atom, int]) -> int:
    """Parameters that cutting the groups adds: a constant that several layers share is copied for each of them."""
    if context.goal.target.kind != "params" or not any(cost.needs_copy(group.atom) for group in groups):
        return 0
    before = cost.params
    for group in groups:
        cost.keep(group.atom, group.size - 1)
    saved = before - cost.params
    for group in groups:
        cost.keep(group.atom, group.size)
    return sum(price[group.atom] for group in groups) - saved


def _heads_and_neurons(groups: Sequence[Group]) -> tuple[list[Group], list[Group]]:
    heads = [group for group in groups if group.kind in HEAD_KINDS]
    return heads, [group for group in groups if group.kind not in HEAD_KINDS]
