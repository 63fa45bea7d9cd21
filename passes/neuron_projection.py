"""Pass ``neuron-projection``: remove the MLP neurons that are least active.

The neuron score of AMP (IJCNN 2025): the mean absolute input of the layer that reads the neurons,
after activation and gate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from graphprune.analysis.groups import Group
from graphprune.pass_infra.context import Context
from graphprune.pass_infra.unit_pass import UnitPass
from graphprune.passes.head_projection import UNREAD, projectable, projected


@dataclass(frozen=True)
class NeuronProjection(UnitPass):
    """Mean absolute activation of each neuron; unlabelled data."""

    name: ClassVar[str] = "neuron-projection"
    paper: ClassVar[str] = "AMP: Attention Heads and MLP Pruning, IJCNN 2025"
    kinds: ClassVar[tuple[str, ...]] = ("neurons",)
    unscored: ClassVar[str] = UNREAD

    def scorable(self, context: Context, groups: Sequence[Group]) -> list[Group]:
        return projectable(context, groups)

    def score(self, context: Context, groups: Sequence[Group]) -> tuple[list[NDArray[np.float64]], tuple[str, ...]]:
        return projected(self.name, context, groups), ()
