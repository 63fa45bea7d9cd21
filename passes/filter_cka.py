"""Pass ``filter-cka``: remove the filters, neurons and heads without which the representation changes least.

The criterion of ``layer-cka`` (Pons et al., ICPR 2024) asked of single units, as "Pruning Everything, Everywhere, All
at Once" (IJCNN 2025) asks one criterion of layers and of filters: ``1 - CKA(R, R_u)``, with R what the last layer reads
in the network, and R_u the same with unit u silenced where it is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphprune.analysis.representation import Representation, find_representations
from graphprune.importance.streaming import StreamedCKA
from graphprune.pass_infra.context import Context
from graphprune.pass_infra.silencing import SilencingPass


@dataclass(frozen=True)
class FilterCKA(SilencingPass):
    """Filters, neurons and heads: by CKA between what the last layer reads with and without each.

    What is compared is what the last layer before the first output reads, or the tensor that ``representation`` names.
    """

    name: ClassVar[str] = "filter-cka"
    paper: ClassVar[str] = "Pruning Everything, Everywhere, All at Once, IJCNN 2025"

    def compared_tensor(self, context: Context) -> Representation:
        blocks = [join.block for join in context.joins if join.block]
        return find_representations(context.model, blocks, [self.representation] if self.representation else [])[0]

    def comparison(self) -> StreamedCKA:
        return StreamedCKA()

    def importance(self, result: float) -> float:
        return 1 - result
