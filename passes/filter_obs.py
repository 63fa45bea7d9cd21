"""Pass ``filter-obs``: remove the units whose readers lose least without them, once these are refitted.

Optimal brain surgeon (Hassibi & Stork, NIPS 1992) for whole units, as in "Structurally Prune Anything" (OBSPA,
arXiv 2403.18955): choice and repair (``--repair ridge``) see the same Gram matrices. Layers lose unequal shares,
out of one budget.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from graphprune.analysis.groups import Group
from graphprune.pass_infra.context import Context
from graphprune.pass_infra.unit_pass import UnitPass
from graphprune.repair.obs import can_refit_readers, obs_losses


@dataclass(frozen=True)
class FilterOBS(UnitPass):
    """Squared error that a unit's leaving adds where its readers write, after refitting them."""

    name: ClassVar[str] = "filter-obs"
    paper: ClassVar[str] = "Structurally Prune Anything (OBSPA), arXiv 2403.18955; Optimal Brain Surgeon, NIPS 1992"
    kinds: ClassVar[tuple[str, ...]] = ("filters", "neurons", "conv-groups", "heads", "kv-heads")

    unscored: ClassVar[str] = "no layer reads them that could be refitted"

    per: Literal["unit", "cost"] = field(
        default="cost", metadata={"help": "compare losses as they are, or for each MAC (parameter) saved"}
    )

    def scorable(self, context: Context, groups: Sequence[Group]) -> list[Group]:
        return [group for group in groups if can_refit_readers(context.analysis, group)]

    def score(self, context: Context, groups: Sequence[Group]) -> tuple[list[NDArray[np.float64]], tuple[str, ...]]:
        losses = obs_losses(
            context.analysis,
            groups,
            context.data,
            context.execution.batch,
            context.execution.runtime,
            lambda done: context.execution.progress(f"{self.name}: weighing groups", done, len(groups)),
        )
        if self.per == "unit":
            return losses, ()
        cost = context.analysis.typed_cost()
        scores = []
        for group, values in zip(groups, losses, strict=True):
            saving = cost.unit_saving(group.atom)
            saved = saving.params if context.goal.target.kind == "params" else saving.macs
            scores.append(values / max(1, saved))
        return scores, ()
