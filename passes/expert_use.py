"""Pass ``expert-use``: remove the experts that tokens go to least.

Of a mixture of experts, those of the smallest mean share in the mix of a token: how often an expert is chosen, and by
what weight (Muzio et al., "SEER-MoE", 2024, counts both ways). A token that lost an expert goes to its next best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from graphprune.analysis.groups import Group
from graphprune.pass_infra.context import Context
from graphprune.pass_infra.unit_pass import UnitPass
from graphprune.plan.selection import Scope
from graphprune.scoring.routing import expert_use, routers


@dataclass(frozen=True)
class ExpertUse(UnitPass):
    """Experts of a mixture that tokens use least."""

    name: ClassVar[str] = "expert-use"
    paper: ClassVar[str] = "SEER-MoE: Sparse Expert Efficiency through Regularization for Mixture-of-Experts, 2024"
    kinds: ClassVar[tuple[str, ...]] = ("experts",)
    unscored: ClassVar[str] = "no node outside of bodies chooses among them"

    scope: Scope = field(default="group", metadata={"help": "the same share of each group, or compare experts of all"})

    def scorable(self, context: Context, groups: Sequence[Group]) -> list[Group]:
        return [group for group in groups if routers(context.model, context.analysis.typing, group)]

    def score(self, context: Context, groups: Sequence[Group]) -> tuple[list[NDArray[np.float64]], tuple[str, ...]]:
        total = context.data.limit or 0
        used = expert_use(
            context.model,
            context.analysis.typing,
            groups,
            context.data,
            context.execution.batch,
            context.execution.runtime,
            lambda done: context.execution.progress(f"{self.name}: routing", done, total),
        )
        return [shares * group.size for shares, group in zip(used, groups, strict=True)], ()
