"""What logits say: how far two rows of them are apart, and how well one foretells the class that came."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.floating]

_CHUNK = 1 << 21  # values that are float64 at once: 16 MiB


def divergences(reference: Logits, logits: Logits) -> NDArray[np.float64]:
    """``KL(p || q)`` (n,) in nats, p and q the softmax of paired rows of ``reference`` and ``logits`` (n, classes)."""
    parts = [np.zeros(0)]
    for rows in _chunks(reference):
        p, q = log_shares(reference[rows]), log_shares(logits[rows])
        parts.append(np.einsum("nc,nc->n", np.exp(p), p - q))
    return np.concatenate(parts)


def class_losses(logits: Logits, classes: NDArray[np.integer]) -> NDArray[np.float64]:
    """``-log`` (n,) of the share that the softmax of each row (n, classes) gives to the class (n,) that came."""
    parts = [np.zeros(0)]
    for rows in _chunks(logits):
        shares = log_shares(logits[rows])
        parts.append(-shares[np.arange(len(shares)), classes[rows]])
    return np.concatenate(parts)


def _chunks(logits: Logits) -> Iterator[slice]:
    step = max(1, _CHUNK // max(1, logits.shape[1]))
    return (slice(start, start + step) for start in range(0, len(logits), step))


def log_shares(logits: Logits) -> NDArray[np.float64]:
    """Logarithms of the softmax of each row of ``logits`` (n, classes), in float64."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return shifted
