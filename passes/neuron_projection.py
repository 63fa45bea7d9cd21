"""Pass ``neuron-projection``: remove the MLP neurons that are least active.

The neuron score of AMP (IJCNN 2025): the mean absolute input of the layer that reads the neurons,
after activation and gate. Activations of different layers are not comparable, so that every layer loses the same share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from graphprune.analysis.groups import Group
from graphprune.pass_infra.context import Context
from graphprune.pass_infra.projected import projected
from graphprune.pass_infra.unit_pass import UnitPass
from graphprune.passes.head_projection import UNREAD, by_layer, projectable
from graphprune.plan.selection import Scope


@dataclass(frozen=True)
class NeuronProjection(UnitPass):
    """Neurons of MLPs with the smallest activations."""

    name: ClassVar[str] = "neuron-projection"
    paper: ClassVar[str] = "AMP: Attention Heads and MLP Pruning, IJCNN 2025"
    kinds: ClassVar[tuple[str, ...]] = ("neurons",)
    unscored: ClassVar[str] = UNREAD

    scope: Scope = field(
        default="group",
        metadata={"help": "the same share of each group, or compare units of all by their share of the group's mean"},
    )

    def scorable(self, context: Context, groups: Sequence[Group]) -> list[Group]:
        return projectable(context, groups)

    def score(self, context: Context, groups: Sequence[Group]) -> tuple[list[NDArray[np.float64]], tuple[str, ...]]:
        scores = projected(f"{self.name}: activations", context, groups)
        return by_layer(scores) if self.scope == "global" else scores, ()
