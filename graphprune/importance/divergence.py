"""How far scores of classes (or of tokens) are from those of another network, as distributions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphprune.importance.row_mean import StreamedMean

Logits = NDArray[np.floating[Any]]

_FEW_CLASSES = 4096


class Divergence:
    """``KL(reference || other)`` in nats, the mean over rows; ``reference`` (rows, classes) are logits."""

    def __init__(self, reference: Logits) -> None:
        self._probabilities = np.exp(reference - _log_sums(reference)[:, None])
        self._cross = self._crossed(reference)

    def of(self, logits: Logits) -> float:
        """Of other ``logits`` (rows, classes) for the same rows."""
        return max(0.0, float(np.mean(self.rows(logits), dtype=np.float64)))

    def rows(self, logits: Logits) -> Logits:
        """Of each row (rows,) on its own; where nothing differs, rounding may leave it just below 0."""
        return np.asarray(self._cross - self._crossed(logits))

    def _crossed(self, logits: Logits) -> Logits:
        """The mean of ``log softmax`` under the reference, for each row."""
        return np.asarray(np.einsum("rc,rc->r", self._probabilities, logits) - _log_sums(logits))


class StreamedDivergence:
    """:class:`Divergence` of a reference from candidates, batch by batch; nothing is kept of a batch but its sums."""

    least_rows = 1

    def __init__(self) -> None:
        self.rows = 0
        self.is_informative = True
        self._batch: Divergence | None = None
        self._means: dict[int, StreamedMean] = {}

    def reference(self, features: Logits, labels: object = None) -> None:
        """Begin a batch with the reference's logits (n, classes); labels say nothing here."""
        self.rows += len(features)
        self.is_informative &= bool(np.isfinite(features).all())
        with np.errstate(invalid="ignore"):  # what is not finite is told by is_informative
            self._batch = Divergence(_precise(features))

    def candidate(self, index: int, features: Logits) -> None:
        """Logits (n, classes) of candidate ``index`` on the rows of the current batch."""
        if self._batch is None:
            raise ValueError("candidate() before reference()")
        values = self._batch.rows(_precise(features)).astype(np.float64)
        self._means.setdefault(index, StreamedMean()).update(values, np.arange(len(values)))

    def result(self, index: int) -> tuple[float, float]:
        """Mean divergence (nats) of candidate ``index`` and its standard error over rows."""
        mean, error = self._means[index].result()
        return max(0.0, mean), error


def _precise(logits: Logits) -> Logits:
    """In float64 where that costs little: of a few classes, the differences are as small as float32's rounding."""
    return logits.astype(np.float64) if logits.shape[1] <= _FEW_CLASSES else logits


def _log_sums(logits: Logits) -> Logits:
    top = logits.max(axis=1)
    return np.asarray(top + np.log(np.exp(logits - top[:, None]).sum(axis=1)))
