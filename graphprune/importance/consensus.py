"""Rank aggregation: many criteria, each with units and a scale of its own, made one by adding up ranks.

"Layer Pruning with Consensus: A Triple-Win Solution" (IEEE Access 2025).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def ranks(distances: Sequence[NDArray[np.float64]], depths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Ranks 1..k of the k candidates, smallest distance first, one row for each criterion: (m, k).

    ``depths`` (k,) are the places of the candidates in the network; of equal distances the lower place comes first,
    so that the answer does not depend on the order in which the candidates are listed.
    Equal distances do not share a rank.
    """
    result = np.empty((len(distances), len(depths)), np.int64)
    for row, values in zip(result, distances, strict=True):
        row[np.lexsort((depths, values))] = np.arange(1, len(depths) + 1)
    return result
