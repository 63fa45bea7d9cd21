"""Pass ``filter-kl``: remove the filters, neurons and heads without which the class probabilities change least.

The criterion of "Pruning Everything, Everywhere, All at Once" (IJCNN 2025), after Luo and Wu, "Neural Network Pruning
with Residual-Connections and Limited-Data" (CVPR 2020): the mean over unlabelled samples, or over tokens, of
``KL(p || p_u)``, with p the softmax of the network and p_u that of the network with unit u silenced where it is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphprune.analysis.representation import Representation, class_scores, find_representations
from graphprune.importance.divergence import StreamedDivergence
from graphprune.pass_infra.context import Context
from graphprune.pass_infra.silencing import SilencingPass


@dataclass(frozen=True)
class FilterKL(SilencingPass):
    """Filters, neurons and heads: by how far the class probabilities move without each.

    What is compared is the first output, or the tensor that ``representation`` names: logits along the last axis.
    """

    name: ClassVar[str] = "filter-kl"
    paper: ClassVar[str] = "Pruning Everything, Everywhere, All at Once, IJCNN 2025"

    def compared_tensor(self, context: Context) -> Representation:
        blocks = [join.block for join in context.joins if join.block]
        if self.representation:
            return find_representations(context.model, blocks, [self.representation])[0]
        return class_scores(context.model, blocks)

    def comparison(self) -> StreamedDivergence:
        return StreamedDivergence()
