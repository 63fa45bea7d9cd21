"""Projection scores of a network in a context, with progress shown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from graphprune.analysis.groups import Group
from graphprune.pass_infra.context import Context
from graphprune.scoring.projection import projection_scores


def projected(label: str, context: Context, groups: Sequence[Group]) -> list[NDArray[np.float64]]:
    """One score for each unit of each group; ``label`` says in the progress what is going on."""
    total = context.data.limit or 0
    return projection_scores(
        context.model,
        context.analysis.typing,
        groups,
        context.analysis.groups,
        context.data,
        context.execution.batch,
        context.execution.runtime,
        lambda done: context.execution.progress(label, done, total),
    )
