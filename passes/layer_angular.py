"""Pass ``layer-angular``: remove the residual block whose output points most nearly where its input does.

The block influence of ShortGPT (Men et al., 2024): the mean over tokens of ``1 - cos`` between what enters and leaves a
block; ``measure=angle`` is the angular distance of Gromov et al. (2024). In a CNN samples take the place of tokens.
One pass over the data scores all blocks, and, as in the papers, serves all removals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from graphprune.analysis.blocks import Block
from graphprune.importance.angular import Measure
from graphprune.pass_infra.block_pass import BlockPass
from graphprune.pass_infra.block_scores import BlockScoring
from graphprune.pass_infra.turns import turn_scores
from graphprune.plan.plan import Score


@dataclass(frozen=True)
class LayerAngular(BlockPass):
    """Residual blocks that turn their input least: one pass over the data, the quickest for deep networks."""

    name: ClassVar[str] = "layer-angular"
    paper: ClassVar[str] = "ShortGPT: Layers in Large Language Models are More Redundant Than You Expect, 2024"
    score_title: ClassVar[str] = "turn"
    sees_bodies: ClassVar[bool] = False

    reference: Literal["current", "original"] = field(
        default="original", metadata={"help": "score once, or the network as pruned so far after every removal"}
    )
    measure: Measure = field(default="cosine", metadata={"help": "1 - cosine, or the angle as a share of half a turn"})

    def memory_bytes(self, rows: int, width: int) -> int:
        return 0

    def score(self, scoring: BlockScoring, candidates: Sequence[Block]) -> list[Score]:
        """Distance between entry and exit of every candidate."""
        if self.reference == "original" and (known := scoring.told_before(candidates)):
            return known
        return turn_scores(scoring, candidates, self.measure)

    def tried(self, scoring: BlockScoring, candidates: Sequence[Block]) -> list[Block]:
        """All of them: nothing is cheaper to make a shortlist by."""
        return list(candidates)
