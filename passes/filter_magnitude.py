"""Pass ``filter-magnitude``: remove the filters and neurons with the smallest weights.

Li et al., "Pruning Filters for Efficient ConvNets" (ICLR 2017); no data is needed.
Norms of layers of different sizes are not comparable, so each (for L2, its square) is divided by the mean of its group.
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
from graphprune.scoring.magnitude import Over, magnitudes


@dataclass(frozen=True)
class FilterMagnitude(UnitPass):
    """Filters and neurons with the smallest weights; needs no data."""

    name: ClassVar[str] = "filter-magnitude"
    paper: ClassVar[str] = "Pruning Filters for Efficient ConvNets, ICLR 2017"
    kinds: ClassVar[tuple[str, ...]] = ("filters", "neurons", "conv-groups")
    needs_data: ClassVar[bool] = False

    norm: Literal["l1", "l2"] = field(default="l2", metadata={"help": "sum of absolute values, or of squares"})
    over: Over = field(
        default="group", metadata={"help": "weights of all layers that hold the unit, or of its writers"}
    )

    def score(self, context: Context, groups: Sequence[Group]) -> tuple[list[NDArray[np.float64]], tuple[str, ...]]:
        scores = []
        for done, group in enumerate(groups):
            context.execution.progress(f"{self.name}: weighing groups", done, len(groups))
            order: Literal[1, 2] = 1 if self.norm == "l1" else 2
            values = magnitudes(context.model, context.analysis.typing, group, order, self.over)
            shares = values**order  # squares, not roots, add up over a group; measured better, too
            scores.append(shares / (shares.mean() or 1.0))
        return scores, ()
