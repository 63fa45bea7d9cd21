"""Mean and standard deviation per channel, in one pass."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

_ROUNDING = 1e-12  # of a mean square, in float32


class ChannelMoments:
    """Mean and standard deviation (channels,) of rows seen so far."""

    def __init__(self) -> None:
        self._n = 0
        self._sum: Vector | float = 0.0
        self._squares: Vector | float = 0.0

    def add(self, values: NDArray[np.floating[Any]], axis: int = -1) -> None:
        """Values of which ``axis`` counts channels; all other axes count rows."""
        axis %= values.ndim
        before, channels, behind = prod(values.shape[:axis]), values.shape[axis], prod(values.shape[axis + 1 :])
        parts = values.reshape(before, channels, behind).astype(np.float64)
        self._n += parts.shape[0] * parts.shape[2]
        self._sum = self._sum + parts.sum((0, 2))
        self._squares = self._squares + np.einsum("ncp,ncp->c", parts, parts)

    def __add__(self, other: ChannelMoments) -> ChannelMoments:
        both = ChannelMoments()
        both._n, both._sum, both._squares = self._n + other._n, self._sum + other._sum, self._squares + other._squares
        return both

    @property
    def is_empty(self) -> bool:
        return self._n == 0

    @property
    def mean(self) -> Vector:
        return np.asarray(self._sum / max(1, self._n))

    @property
    def deviation(self) -> Vector:
        """Zero where the values differ by rounding only."""
        power = np.asarray(self._squares / max(1, self._n))
        variance = power - self.mean**2
        return np.sqrt(np.where(variance > _ROUNDING * power, variance, 0.0))
