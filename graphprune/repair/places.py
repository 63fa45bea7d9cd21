"""Which positions to look at: neighbours say nearly the same, so a random choice of them serves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ROWS_PER_INPUT = 100
"""Rows for each unknown, past which more hardly change the fit."""


def places(shape: tuple[int, ...], inputs: int, batches: int, random: np.random.Generator) -> NDArray[np.intp] | None:
    """Flat positions to look at in each sample of (samples, *positions, channels); None for all.

    So many that ``batches`` such batches give ``ROWS_PER_INPUT`` rows for each of ``inputs`` unknowns.
    """
    positions = int(np.prod(shape[1:-1]))
    wanted = -(-ROWS_PER_INPUT * inputs // (batches * shape[0]))
    return np.sort(random.permutation(positions)[:wanted]) if wanted < positions else None
