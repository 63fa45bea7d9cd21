"""Pass ``layer-magnitude``: remove the residual block with the smallest weights; no data is needed.

The L1 criterion of Li et al., "Pruning Filters for Efficient ConvNets" (ICLR 2017), asked of blocks as "Pruning
Everything, Everywhere, All at Once" (IJCNN 2025) does: the mean absolute weight. Weights shrink with the width of a
layer, so that blocks of different stages are hardly comparable: a baseline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphprune.analysis.blocks import Block
from graphprune.analysis.dataflow import is_weighted
from graphprune.ir.bodies import all_nodes
from graphprune.ir.model import Model
from graphprune.ir.quantised import weight_place, weight_values
from graphprune.pass_infra.block_pass import BlockPass
from graphprune.pass_infra.block_scores import BlockScoring
from graphprune.plan.plan import Score


@dataclass(frozen=True)
class LayerMagnitude(BlockPass):
    """Residual blocks with the smallest weights; needs no data, a baseline."""

    name: ClassVar[str] = "layer-magnitude"
    paper: ClassVar[str] = "Pruning Filters for Efficient ConvNets, ICLR 2017"
    score_title: ClassVar[str] = "mean |w|"
    needs_data: ClassVar[bool] = False

    def memory_bytes(self, rows: int, width: int) -> int:
        return 0

    def score(self, scoring: BlockScoring, candidates: Sequence[Block]) -> list[Score]:
        """Mean absolute weight of every candidate; 0 for one without weights."""
        return [Score(block.name, _mean(scoring.context.model, block), 0.0) for block in candidates]


def _mean(model: Model, block: Block) -> float:
    total, count = 0.0, 0
    members = set(block.nodes)
    for node in all_nodes(model.graph):
        if node.name not in members or not is_weighted(node):
            continue
        places = (weight_place(node, operand) for operand in range(len(node.inputs)))
        for place in filter(None, places):
            values = weight_values(*place, model.folder)
            total += float(np.abs(values).sum(dtype=np.float64))
            count += values.size
    return total / max(1, count)
