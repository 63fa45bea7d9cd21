"""Pass ``layer-consensus``: remove the residual block that many measures of similarity agree is missed least.

"Layer Pruning with Consensus: A Triple-Win Solution" (IEEE Access 2025).
For every candidate block i up to eight dissimilarities between the representation of the current network and the one
without the block are computed from the same forward passes; each ranks the candidates, and the block with the smallest
sum of ranks goes. Then the rest is scored again.

Where it departs from the authors' code: scores belong to blocks (there the sorted list loses its link to them,
and the first block left always goes); all metrics see the same samples;
the linear metrics are scored on the rows they are fitted on (there on two rows, see ``importance/shape_metrics.py``);
ranks are among the blocks that may go.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import numpy as np

from graphprune.analysis.blocks import Block
from graphprune.base.graded import Graded
from graphprune.errors import DataError, OptionError
from graphprune.importance.consensus import ranks
from graphprune.pass_infra.block_pass import BlockPass
from graphprune.pass_infra.block_scores import BlockScoring
from graphprune.plan.plan import Score
from graphprune.scoring.dissimilarity import METRICS, Dissimilarities, Distances


@dataclass(frozen=True)
class LayerConsensus(BlockPass):
    """Residual blocks, the least missed first: by their ranks in up to eight measures of likeness; labels help.

    The standard error is that of a sum over metrics: how far these disagree about a block, 0 for one metric.
    """

    name: ClassVar[str] = "layer-consensus"
    paper: ClassVar[str] = "Layer Pruning with Consensus: A Triple-Win Solution, IEEE Access 2025"
    score_title: ClassVar[str] = "rank sum"

    metrics: tuple[str, ...] = field(
        default=METRICS, metadata={"help": "what is asked; the first decides ties; the Gaussian ones need labels"}
    )

    def __post_init__(self) -> None:
        for name in self.metrics:
            if name not in METRICS:
                raise OptionError(f"there is no metric '{name}'", f"the metrics are: {', '.join(METRICS)}")
            if self.metrics.count(name) > 1:
                raise OptionError(f"metric {name} is named twice", "name it once: all have one vote")
        if not self.metrics:
            raise OptionError(f"pass {self.name} has no metric", f"name some of: {', '.join(METRICS)}")

    def memory_bytes(self, rows: int, width: int) -> int:
        return Dissimilarities.memory_bytes(self.metrics, rows, width)

    def score(self, scoring: BlockScoring, candidates: Sequence[Block]) -> list[Score]:
        """The rank sum of every candidate; of several representations each metric takes the mean."""
        results = self.compared(scoring, candidates, partial(Dissimilarities, self.metrics))
        metrics = self._possible(scoring, results[0])
        rows = [[float(np.mean([each.values[metric] for each in one])) for metric in metrics] for one in results]
        depths = {join.node: depth for depth, join in enumerate(scoring.context.analysis.all_joins)}
        ranked = ranks(list(np.array(rows).T), np.array([depths[block.join] for block in candidates]))
        return [
            Score(
                unit=block.name,
                score=float(own.sum()),
                standard_error=float(math.sqrt(len(metrics)) * own.std(ddof=1)) if len(metrics) > 1 else 0.0,
                details={m: d for m, d in zip(metrics, distances, strict=True) if math.isfinite(d)},
            )
            for block, distances, own in zip(candidates, rows, ranked.T, strict=True)
        ]

    def choose(self, scores: Sequence[Score]) -> int:
        """The smallest rank sum; of equals the one that the first metric ranks first."""
        first = next(metric for metric in self.metrics if any(metric in score.details for score in scores))
        return min(range(len(scores)), key=lambda i: (scores[i].score, scores[i].details.get(first, math.inf), i))

    def _possible(self, scoring: BlockScoring, distances: Sequence[Distances]) -> list[str]:
        """The metrics that the data allows in all representations; what is left out is noted.

        Raises
        ------
        DataError
            It allows none.
        """
        obstacles: dict[str, str] = {}
        for each in distances:
            obstacles = each.left_out | obstacles
        reasons = dict.fromkeys(obstacles.values())
        if len(obstacles) == len(self.metrics):
            raise DataError(
                f"none of the metrics of {self} can be computed from {scoring.context.data.origin}: "
                f"{'; '.join(reasons)}",
                "give labels and more samples, or choose other metrics",
            )
        for reason in reasons:
            left_out = ", ".join(metric for metric in self.metrics if obstacles.get(metric) == reason)
            scoring.notes.append(Graded(f"{reason}: left out {left_out}", "caution"))
        return [metric for metric in self.metrics if metric not in obstacles]
