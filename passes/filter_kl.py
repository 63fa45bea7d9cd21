"""Pass ``filter-kl``: remove the filters, neurons and heads without which the class probabilities change least.

The criterion of "Pruning Everything, Everywhere, All at Once" (IJCNN 2025), after Luo and Wu, "Neural Network Pruning
with Residual-Connections and Limited-Data" (CVPR 2020): the mean over unlabelled samples, or over tokens, of
``KL(p || p_u)``, with p the softmax of the network and p_u that of the network with unit u silenced where it is read.
It costs a run of what follows for every unit and every batch, so it looks at a part of the samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from graphprune.analysis.groups import Group
from graphprune.analysis.representation import class_scores, find_representations
from graphprune.errors import OptionError
from graphprune.pass_infra.context import Context
from graphprune.pass_infra.unit_pass import UnitPass
from graphprune.scoring.silenced import silenceable, silenced_divergences


@dataclass(frozen=True)
class FilterKL(UnitPass):
    """Divergence of the class probabilities without each unit; unlabelled data."""

    name: ClassVar[str] = "filter-kl"
    paper: ClassVar[str] = "Pruning Everything, Everywhere, All at Once, IJCNN 2025"
    kinds: ClassVar[tuple[str, ...]] = ("filters", "neurons", "conv-groups", "heads", "kv-heads")
    unscored: ClassVar[str] = "what they write is not read by layers alone"

    samples: int = field(default=128, metadata={"help": "samples that every unit is silenced on"})
    logits: str = field(default="", metadata={"help": "tensor of logits to compare; default: the first output"})

    def requires(self, context: Context) -> None:
        super().requires(context)
        if self.samples < 1:
            raise OptionError(f"option samples of {self} is {self.samples}", "give 1 or more")

    def scorable(self, context: Context, groups: Sequence[Group]) -> list[Group]:
        return silenceable(context.model, context.analysis.typing, groups)

    def score(self, context: Context, groups: Sequence[Group]) -> tuple[list[NDArray[np.float64]], tuple[str, ...]]:
        blocks = [join.block for join in context.joins if join.block]
        found = find_representations(context.model, blocks, [self.logits]) if self.logits else []
        limit = context.data.limit
        scores = silenced_divergences(
            context.model,
            context.analysis.typing,
            groups,
            found[0] if found else class_scores(context.model, blocks),
            replace(context.data, limit=self.samples if limit is None else min(limit, self.samples)),
            context.execution.batch,
            context.execution.runtime,
            lambda done, of: context.execution.progress(f"{self.name}: without each unit", done, of),
        )
        return scores, ()
