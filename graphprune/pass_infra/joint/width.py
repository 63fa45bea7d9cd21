"""Heads and neurons worth a given number of parameters, the same share of every layer, as in "Mixture of Pruners".

With grouped queries a layer has few groups, and a step is worth a fraction of one: fractions add up over the steps,
and a group goes from every layer when they make a whole. The neurons make up for the rest, exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import floor
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from graphprune.analysis.groups import Group
from graphprune.axes.algebra import Atom
from graphprune.pass_infra.context import Context
from graphprune.pass_infra.projected import projected
from graphprune.pass_infra.reach import unreachable
from graphprune.pass_infra.removed_units import removed_units
from graphprune.pass_infra.unit_pass import matches
from graphprune.plan.multiples import Multiples
from graphprune.plan.plan import Decision
from graphprune.scoring.consumers import consumers
from graphprune.scoring.projection import HEAD_KINDS

Currency = Literal["params", "flops"]

_SAME_WORTH = 0.2  # of the budget: multiples of widths that cannot come as near are halved, where they may be
_LEAST_WORTH = 0.5  # of the budget: a child that gives up less would be judged too well


@dataclass(frozen=True)
class Width:
    """How units are chosen: ``kinds`` on offer, but for the groups that ``exclude`` names;
    ``least_groups`` of key-value heads stay in each layer.

    ``carried`` are the units, by group name, that earlier steps were owed and could not take whole.
    """

    kinds: tuple[str, ...]
    least_groups: int
    exclude: tuple[str, ...] = ()
    carried: dict[str, float] = field(default_factory=dict)

    def step(self, context: Context, budget: int, currency: Currency) -> tuple[Decision, Width] | None:
        """Units of the network in ``context`` worth ``budget``, and how the next step is to choose;
        None where too few can go.
        """
        groups = self._groups(context)
        if not groups:
            return None
        multiples = context.widths.measured_for(groups)
        least = [multiples.width_multiple, *multiples.finer()]
        worth: dict[int, float] = {}
        for multiple in least:
            counts, _ = self._counts(context, groups, budget, currency, replace(multiples, width_multiple=multiple))
            worth[multiple] = self._saved(context, groups, counts, currency) / max(1, budget)
            if abs(worth[multiple] - 1) <= _SAME_WORTH:
                break
        best = min(worth, key=lambda multiple: abs(worth[multiple] - 1))
        if worth[best] < _LEAST_WORTH:
            return None
        counts, carried = self._counts(context, groups, budget, currency, replace(multiples, width_multiple=best))
        chosen = [group for group in groups if counts[group.atom]]
        scores = projected("activations", context, chosen)  # each group's own: nothing is compared across layers
        removed: dict[Atom, NDArray[np.intp]] = {
            group.atom: np.sort(np.argsort(values, kind="stable")[: counts[group.atom]])
            for group, values in zip(chosen, scores, strict=True)
        }
        units = removed_units(chosen, scores, removed, context.analysis.typed_cost())
        return Decision("", units=units), replace(self, carried=carried)

    def _saved(self, context: Context, groups: Sequence[Group], counts: dict[Atom, int], currency: Currency) -> int:
        cost = context.analysis.typed_cost()
        before = cost.cost
        for group in groups:
            cost.keep(group.atom, group.size - counts[group.atom])
        return before.params - cost.cost.params if currency == "params" else before.macs - cost.cost.macs

    def _groups(self, context: Context) -> list[Group]:
        return [
            group
            for group in context.analysis.groups
            if group.is_prunable
            and group.kind in self.kinds
            and not any(matches(pattern, group) for pattern in self.exclude)
            and not unreachable(context, group, needs_activations=True)
            and consumers(context.model, context.analysis.typing, group)
        ]

    def _counts(
        self, context: Context, groups: Sequence[Group], budget: int, currency: Currency, multiples: Multiples
    ) -> tuple[dict[Atom, int], dict[str, float]]:
        """How many units of each group go, and what each is owed from then on."""
        cost = context.analysis.typed_cost()
        saving = {group.atom: cost.unit_saving(group.atom) for group in groups}
        price = {atom: each.params if currency == "params" else each.macs for atom, each in saving.items()}
        heads = [group for group in groups if group.kind in HEAD_KINDS]
        neurons = [group for group in groups if group.kind not in HEAD_KINDS]
        rho = min(budget / max(1, sum(group.size * price[group.atom] for group in groups)), 1.0)
        counts: dict[Atom, int] = {}
        carried: dict[str, float] = {}
        for group in heads:
            if group.kind == "heads":
                counts[group.atom] = min(round(rho * group.size), group.size - 1)
                continue
            owed = self.carried.get(group.name, 0.0) + rho * group.size
            counts[group.atom] = max(0, min(floor(owed), group.size - self.least_groups))
            carried[group.name] = owed - counts[group.atom]
        left = budget - sum(counts[group.atom] * price[group.atom] for group in heads)
        share = left / max(1, sum(group.size * price[group.atom] for group in neurons))
        for group in neurons:
            owed = self.carried.get(group.name, 0.0) + share * group.size
            counts[group.atom] = _aligned(group.size, owed, multiples.of(group.kind, group.size))
            # what a multiple took too much is not held against the next step, which might find nothing to take
            carried[group.name] = max(0.0, owed - counts[group.atom])
        return counts, carried


def _aligned(size: int, owed: float, align: int) -> int:
    """The number of units near ``owed`` that leaves a multiple of ``align``: one step at least where one is owed."""
    if round(owed) < 1 or size < 2:
        return 0
    step = align if size > align else 1
    stay = min(round((size - owed) / step) * step, (size - 1) // step * step)
    return size - max(stay, step)
