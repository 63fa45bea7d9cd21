"""Squared distance of a reference's features from those of many candidates, batch by batch."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.floating]

_NOISE = 1e-12  # of a mean square, in float32


class StreamedDistance:
    """``sum |x - y_i|^2 / sum |x - mean x|^2`` over rows x of a reference and y_i of candidates 0, 1, ...:
    0 where they are equal, 1 where the candidate knows no more than the mean.
    The standard error comes from the even and the odd rows.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._batch: Rows = np.empty((0, 0))
        self._sum: NDArray[np.float64] | float = 0.0
        self._squares = 0.0
        self._apart: tuple[dict[int, float], dict[int, float]] = (defaultdict(float), defaultdict(float))

    def reference(self, features: Rows, labels: object = None) -> None:
        """Begin a batch with the reference's features (n, d); labels do not matter."""
        self._batch = features
        self._sum = self._sum + features.sum(0, dtype=np.float64)
        self._squares += float(np.sum(features.astype(np.float64) ** 2))
        self.rows += len(features)

    def candidate(self, index: int, features: Rows) -> None:
        """Features (n, d) of candidate ``index`` on the rows of the current batch."""
        apart = np.sum((features.astype(np.float64) - self._batch) ** 2, axis=1)
        first = (self.rows - len(features)) % 2
        self._apart[first][index] += float(apart[::2].sum())
        self._apart[1 - first][index] += float(apart[1::2].sum())

    def result(self, index: int) -> tuple[float, float]:
        """Distance of candidate ``index`` and its standard error; they mean nothing unless :attr:`is_informative`."""
        variance = max(self._variation, _NOISE * self._squares) / self.rows or 1.0
        whole = (self._apart[0][index] + self._apart[1][index]) / self.rows / variance
        counts = ((self.rows + 1) // 2, max(1, self.rows // 2))
        one, two = (half[index] / count / variance for half, count in zip(self._apart, counts, strict=True))
        return whole, abs(one - two) / 2

    @property
    def least_rows(self) -> int:
        """One row has no variation."""
        return 2

    @property
    def is_informative(self) -> bool:
        """Whether the reference is finite and varies by more than float32 noise."""
        return bool(self.rows) and bool(_NOISE * self._squares < self._variation < np.inf)

    @property
    def _variation(self) -> float:
        return self._squares - float(np.sum(np.square(self._sum))) / max(1, self.rows)
