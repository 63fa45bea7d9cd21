"""Pass ``layer-kl``: remove the residual block without which the network's class probabilities change least.

The criterion of the headline runs of "Pruning Everything, Everywhere, All at Once" (IJCNN 2025), after Luo and Wu,
"Neural Network Pruning with Residual-Connections and Limited-Data" (CVPR 2020): the mean over unlabelled samples, or
over tokens, of ``KL(p || p_i)``, with p the softmax of the network and p_i that of the network without block i.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from graphprune.analysis.blocks import Block
from graphprune.analysis.representation import Representation, class_scores
from graphprune.importance.divergence import StreamedDivergence
from graphprune.pass_infra.block_pass import BlockPass
from graphprune.pass_infra.block_scores import BlockScoring
from graphprune.pass_infra.context import Context
from graphprune.plan.plan import Score


@dataclass(frozen=True)
class LayerKL(BlockPass):
    """Residual blocks, the least missed first: by how far the class (next token) probabilities move without each.

    What is compared is the first output, or the tensor that ``representation`` names: logits along the last axis.
    """

    name: ClassVar[str] = "layer-kl"
    paper: ClassVar[str] = "Pruning Everything, Everywhere, All at Once, IJCNN 2025"
    score_title: ClassVar[str] = "KL"

    def compared_tensors(self, context: Context, blocks: Sequence[Block]) -> list[Representation]:
        if self.representation:
            return super().compared_tensors(context, blocks)
        return [class_scores(context.model, blocks)]

    def memory_bytes(self, rows: int, width: int) -> int:
        return 4 * rows * width

    def rows_held(self, scoring: BlockScoring, representation: Representation) -> int:
        """Those of a batch: nothing is kept of one that has been compared."""
        return scoring.batch_rows(representation)

    def score(self, scoring: BlockScoring, candidates: Sequence[Block]) -> list[Score]:
        """Mean divergence (nats) of every candidate, over the rows of all tensors compared."""
        results = self.compared(scoring, candidates, StreamedDivergence)
        return [
            Score(block.name, sum(mean for mean, _ in each) / len(each), sum(e**2 for _, e in each) ** 0.5 / len(each))
            for block, each in zip(candidates, results, strict=True)
        ]
