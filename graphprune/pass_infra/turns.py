"""How far candidate blocks turn the stream: a score of its own, and the shortlist of costlier ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphprune.analysis.blocks import Block
from graphprune.errors import DataError
from graphprune.importance.angular import Measure
from graphprune.pass_infra.block_scores import BlockScoring
from graphprune.plan.plan import Score
from graphprune.scoring.angular import token_blocks, turns


def turn_scores(scoring: BlockScoring, candidates: Sequence[Block], measure: Measure = "cosine") -> list[Score]:
    """The distance between what enters and leaves each candidate, from one pass over all of the data.

    Raises
    ------
    DataError
        The activations are not finite.
    """
    context, execution = scoring.context, scoring.context.execution
    found = turns(
        scoring.segments,
        candidates,
        scoring.gone,
        context.data,
        execution.batch,
        execution.runtime.thread_count,
        measure,
        token_blocks(context.model, context.joins, context.sizes),
    )
    for block, (distance, _) in zip(candidates, found, strict=True):
        if not np.isfinite(distance):
            raise DataError(
                f"what enters and leaves {block.name} is not finite on {context.data.origin}, or all of it is padding",
                "run the model in float32, check the data",
            )
    return [Score(block.name, *each) for block, each in zip(candidates, found, strict=True)]


def shortlisted(scoring: BlockScoring, candidates: Sequence[Block], count: int) -> list[Block]:
    """The ``count`` candidates that turn the stream least, in order of execution; a note tells of it."""
    if count >= len(candidates):
        return list(candidates)
    distances = [score.score for score in turn_scores(scoring, candidates)]
    scoring.notes.append(f"of the blocks only the {count} that turn the stream least were tried each time")
    return [candidates[index] for index in sorted(np.argsort(distances, kind="stable")[:count].tolist())]
