"""The mean of a quantity that rows have, such as tokens, with a standard error over samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class StreamedMean:
    """Mean of a quantity over all rows, with a standard error that takes the rows of a sample together:
    the tokens of one text are no independent draws.
    """

    def __init__(self) -> None:
        self._rows = 0
        self._sum = 0.0
        self._squares = np.zeros(3)  # sums over samples: rows^2, rows * own sum, own sum^2

    def update(self, values: NDArray[np.float64], samples: NDArray[np.intp]) -> None:
        """Count ``values`` (n,) of rows that belong to ``samples`` (n,), whose numbers mean something in this call
        only: no sample comes in two.
        """
        own, counts = np.bincount(samples, values), np.bincount(samples)
        self._rows += len(values)
        self._sum += float(values.sum())
        self._squares += (np.sum(counts**2), np.sum(counts * own), np.sum(own**2))

    def result(self) -> tuple[float, float]:
        """The mean and its standard error; both NaN where there was no row."""
        if not self._rows:
            return float("nan"), float("nan")
        mean = self._sum / self._rows
        rows, mixed, own = self._squares
        return mean, float(np.sqrt(max(0.0, own - 2 * mean * mixed + mean**2 * rows)) / self._rows)
