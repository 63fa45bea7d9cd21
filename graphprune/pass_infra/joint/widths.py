"""The units of one network, scored once; any amount of them can then be taken."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from graphprune.pass_infra.context import Context
from graphprune.pass_infra.joint.match import filter_count, filters_per_unit, matched_units
from graphprune.pass_infra.removed_units import removed_units
from graphprune.pass_infra.unit_pass import UnitPass
from graphprune.plan.plan import Decision
from graphprune.plan.target import Target


class Widths:
    """What ``criterion`` thinks of the groups of ``context``, whose present cost counts as all there is.

    Raises
    ------
    NothingToPrune, OptionError
        The criterion finds no group.
    """

    def __init__(self, criterion: UnitPass, context: Context) -> None:
        self._criterion, self._context = criterion, context
        self._groups = criterion.eligible(context)
        self._scores, self._notes = criterion.finite_scores(context, self._groups)

    @property
    def are_filters(self) -> bool:
        """Whether all groups are of convolution filters, so that these can be counted."""
        return all(group.kind == "filters" for group in self._groups)

    def down_to(self, target: Target) -> Decision:
        """Units until ``target``, a share of the present cost, is met; with a limit where it cannot be."""
        context = replace(self._context, goal=replace(self._context.goal, target=target))
        return self._criterion.choose(context, self._groups, self._scores, self._notes)

    def as_many_filters(self, wanted: int, random: np.random.Generator) -> Decision:
        """Units with ``wanted`` convolution filters or just more, see :mod:`graphprune.pass_infra.joint.match`."""
        model = self._context.model
        candidates = self._criterion.candidates(self._context, self._groups, self._scores)
        weights = [filters_per_unit(model, group) for group in self._groups]
        removed = matched_units(candidates, weights, wanted, wanted / filter_count(model), random)
        if removed is None:
            return Decision(str(self._criterion), limit=f"fewer than {wanted} filters can go")
        units = removed_units(self._groups, self._scores, removed, self._context.analysis.typed_cost())
        return Decision(str(self._criterion), units=units, notes=self._notes)
