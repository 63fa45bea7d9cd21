"""Pass ``filter-pls-vip``: remove the filters that say least about the classes.

Jordao et al., "Pruning Deep Neural Networks using Partial Least Squares" (BMVC Workshops 2019),
"Deep Network Compression Based on Partial Least Squares" (Neurocomputing 2020): every filter's output map is pooled to
one feature, all filters go into one PLS model of the labels, and the score is the variable importance in projection
(VIP). For data that does not fit in memory, ``estimator=cipls`` (Jordao et al., "Covariance-free Partial Least
Squares", WACV 2021) streams.
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
from graphprune.scoring.vip import OWN_LABELS_NOTE, Estimator, Pool, vip_scores


@dataclass(frozen=True)
class FilterPLSVIP(UnitPass):
    """Filters, neurons and heads that say least about the classes (VIP); wants labels."""

    name: ClassVar[str] = "filter-pls-vip"
    paper: ClassVar[str] = "Deep Network Compression Based on Partial Least Squares, Neurocomputing 2020"
    kinds: ClassVar[tuple[str, ...]] = ("filters", "neurons", "conv-groups")

    components: int = field(default=2, metadata={"help": "components of the PLS model"})
    pool: Pool = field(default="max", metadata={"help": "largest or mean value of each output map"})
    estimator: Estimator = field(default="pls", metadata={"help": "all samples in memory, or streamed"})

    def score(self, context: Context, groups: Sequence[Group]) -> tuple[list[NDArray[np.float64]], tuple[str, ...]]:
        total = context.data.limit or 0
        scores, labelled = vip_scores(
            context.model,
            context.analysis.typing,
            groups,
            context.data,
            context.execution.batch,
            context.execution.runtime,
            components=self.components,
            pool=self.pool,
            estimator=self.estimator,
            progress=lambda done: context.execution.progress(f"{self.name}: features", done, total),
        )
        return scores, () if labelled else (OWN_LABELS_NOTE,)
