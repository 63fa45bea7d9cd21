"""Pass ``filter-obs``: remove the units whose readers lose least without them, once these are refitted.

Optimal brain surgeon (Hassibi & Stork, NIPS 1992) for whole units, as in "Structurally Prune Anything" (OBSPA,
arXiv 2403.18955): choice and repair (``--repair ridge``) see the same Gram matrices. Layers lose unequal shares,
out of one budget.

In a language model (``walk``) choice and refit go together, MLP by MLP from input to output: each loses the same share
of its neurons, chosen on what the network pruned so far gives it, and makes up for what all before it have lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from graphprune.analysis.groups import Group
from graphprune.analysis.language import is_language_model
from graphprune.analysis.model_analysis import ModelAnalysis
from graphprune.data.dataset import Data
from graphprune.errors import OptionError
from graphprune.pass_infra.context import Context
from graphprune.pass_infra.unit_pass import UnitPass
from graphprune.pass_infra.walk import walked
from graphprune.plan.plan import Decision
from graphprune.repair.obs import can_refit_readers, obs_losses
from graphprune.repair.stage import Method
from graphprune.repair.walk import read_group

_WALKED = ("neurons",)


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
    walk: bool | None = field(
        default=None,
        metadata={
            "help": "choose and refit MLP by MLP on what the pruned network gives, the same share of each; "
            "auto: in a language model"
        },
    )

    def requires(self, context: Context) -> None:
        super().requires(context)
        if self.walk and self.widths:
            raise OptionError("pass filter-obs walks from MLP to MLP and cuts no residual widths", "leave out one")

    def decide(self, context: Context) -> Decision:
        if not self.walks(context.analysis, context.data):
            return super().decide(context)
        groups = self.eligible(context)
        even = replace(self, scope="group").choose(context, groups, [np.zeros(group.size) for group in groups], ())
        return replace(walked(context, groups, even), spec=str(self))

    def own_repair(self, analysis: ModelAnalysis, data: Data) -> tuple[Method, ...] | None:
        return ("walk",) if self.walks(analysis, data) else None

    def walks(self, analysis: ModelAnalysis, data: Data) -> bool:
        """Whether units are chosen and readers refitted in one walk."""
        if self.walk is not None:
            return self.walk
        return data.kind != "synthetic" and not self.widths and is_language_model(analysis.model, analysis.sizes)

    def scorable(self, context: Context, groups: Sequence[Group]) -> list[Group]:
        if self.walks(context.analysis, context.data):
            return [each for each in groups if each.kind in _WALKED and read_group(context.analysis, each)]
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
