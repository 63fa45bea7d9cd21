"""Pass ``head-projection``: remove the attention heads that add least to the stream.

The head score of AMP (IJCNN 2025): the mean L1 norm of what a head sends through the output projection.
Key-value groups go whole, with all their query heads, and score the mean of these. What heads write grows from layer to
layer: heads of different layers are compared by their share of the layer's mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from graphprune.analysis.groups import Group
from graphprune.pass_infra.context import Context
from graphprune.pass_infra.projected import projected
from graphprune.pass_infra.unit_pass import UnitPass
from graphprune.scoring.consumers import consumers

UNREAD = "no layer with constant weights reads them as one axis"


@dataclass(frozen=True)
class HeadProjection(UnitPass):
    """Attention heads and key-value groups that add least to what they are added to."""

    name: ClassVar[str] = "head-projection"
    paper: ClassVar[str] = "AMP: Attention Heads and MLP Pruning, IJCNN 2025"
    kinds: ClassVar[tuple[str, ...]] = ("heads", "kv-heads")
    unscored: ClassVar[str] = UNREAD

    def scorable(self, context: Context, groups: Sequence[Group]) -> list[Group]:
        return projectable(context, groups)

    def score(self, context: Context, groups: Sequence[Group]) -> tuple[list[NDArray[np.float64]], tuple[str, ...]]:
        scores = projected(f"{self.name}: activations", context, groups)
        return by_layer(scores) if self.scope == "global" else scores, ()


def by_layer(scores: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """Each group's scores by their mean: activations grow from layer to layer, by tens, and say nothing across them."""
    return [values / (values.mean() or 1.0) for values in scores]


def projectable(context: Context, groups: Sequence[Group]) -> list[Group]:
    """The groups that some layer with constant weights sums over."""
    return [group for group in groups if consumers(context.model, context.analysis.typing, group)]
