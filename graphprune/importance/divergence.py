"""How far scores of classes (or of tokens) are from those of another network, as distributions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.floating[Any]]


class Divergence:
    """``KL(reference || other)`` in nats, the mean over rows; ``reference`` (rows, classes) are logits."""

    def __init__(self, reference: Logits) -> None:
        self._probabilities = np.exp(reference - _log_sums(reference)[:, None])
        self._cross = self._crossed(reference)

    def of(self, logits: Logits) -> float:
        """Of other ``logits`` (rows, classes) for the same rows."""
        return max(0.0, float(np.mean(self._cross - self._crossed(logits), dtype=np.float64)))

    def _crossed(self, logits: Logits) -> Logits:
        """The mean of ``log softmax`` under the reference, for each row."""
        return np.asarray(np.einsum("rc,rc->r", self._probabilities, logits) - _log_sums(logits))


def _log_sums(logits: Logits) -> Logits:
    top = logits.max(axis=1)
    return np.asarray(top + np.log(np.exp(logits - top[:, None]).sum(axis=1)))
