"""Pass ``layer-cka``: remove the residual block without which the network's representation changes least.

Pons et al., "Effective Layer Pruning Through Similarity Metric Perspective" (ICPR 2024).
For every candidate block i the score is ``s_i = 1 - CKA(R, R_i)``, with R the representation of the current network on
unlabelled samples and R_i the one without the block. The lowest score goes, and the rest is scored again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import numpy as np

from graphprune.analysis.blocks import Block
from graphprune.importance.streaming import StreamedCKA
from graphprune.pass_infra.after_repair import RESCORE_HELP, Rescore
from graphprune.pass_infra.block_pass import BlockPass
from graphprune.pass_infra.block_scores import BlockScoring
from graphprune.plan.plan import Score


@dataclass(frozen=True)
class LayerCKA(BlockPass):
    """Residual blocks, the least missed first: by CKA between what the last layer reads with and without each.

    The paper's criterion alone is ``rescore=none``; by itself the pass lets the repair that follows in a small CNN have
    a say.
    """

    name: ClassVar[str] = "layer-cka"
    paper: ClassVar[str] = "Effective Layer Pruning Through Similarity Metric Perspective, ICPR 2024"
    score_title: ClassVar[str] = "1-CKA"

    rescore: Rescore = field(default="auto", metadata={"help": f"{RESCORE_HELP}; auto: in a small CNN"})
    debiased: bool = field(default=False, metadata={"help": "debiased CKA, for more features than samples"})

    def memory_bytes(self, rows: int, width: int) -> int:
        return StreamedCKA.memory_bytes(rows, width)

    def score(self, scoring: BlockScoring, candidates: Sequence[Block]) -> list[Score]:
        """``1 - CKA`` of every candidate, the mean over the representations."""
        results = self.compared(scoring, candidates, partial(StreamedCKA, debiased=self.debiased))
        return [_score(block.name, each) for block, each in zip(candidates, results, strict=True)]


def _score(name: str, similarities: list[tuple[float, float]]) -> Score:
    """Mean of ``1 - CKA`` over the representations; their standard errors add in squares."""
    values, errors = np.array(similarities).T
    return Score(name, float(np.mean(1 - values)), float(np.sqrt(np.sum(errors**2)) / len(errors)))
