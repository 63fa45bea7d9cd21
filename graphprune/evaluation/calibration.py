"""Whether a network is as sure as it is right.

Expected calibration error: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, eq. 3. The adaptive one has
bins of equally many samples: Nixon et al., Measuring Calibration in Deep Learning, CVPR-W 2019. Brier: the multi-class
score of Brier 1950, sum over the classes, so between 0 and 2.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Measure = Callable[[np.ndarray, np.ndarray], float]
"""Confidence (n,) and right or wrong (n,) -> calibration error."""

BINS = 15
_TINY = 1e-12  # a certain and wrong answer costs -log of this
_SUM_SLACK = 1e-3


def are_probabilities(scores: np.ndarray) -> bool:
    """Whether every row of ``scores`` [n, classes] is a distribution: then the network ends in a softmax already."""
    return bool(scores.min() >= 0 and np.abs(scores.sum(1) - 1).max() < _SUM_SLACK)


def probabilities(scores: np.ndarray) -> np.ndarray:
    """Softmax of logits [n, classes] in float64; rows that are distributions already are kept."""
    scores = scores.astype(np.float64)
    if are_probabilities(scores):
        return scores
    powers = np.exp(scores - scores.max(1, keepdims=True))
    shares: np.ndarray = powers / powers.sum(1, keepdims=True)
    return shares


def confidence(shares: np.ndarray) -> np.ndarray:
    """Probability of the chosen class, (n,)."""
    return np.asarray(shares.max(1))


def calibration_error(sure: np.ndarray, right: np.ndarray, bins: int = BINS) -> float:
    """Sum over ``bins`` equal intervals (low, high] of [0, 1]: share of samples * |mean of right - mean of sure|.

    ``sure`` (n,) is the confidence, ``right`` (n,) 1 where the decision was correct.
    """
    place = np.clip(np.ceil(sure * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(place, weights=right - sure, minlength=bins)
    return float(np.abs(gaps).sum() / len(sure))


def adaptive_calibration_error(sure: np.ndarray, right: np.ndarray, bins: int = BINS) -> float:
    """As :func:`calibration_error`, with bins that hold equally many samples (to one)."""
    order = np.argsort(sure, kind="stable")
    gaps = [float((right[rows] - sure[rows]).sum()) for rows in np.array_split(order, bins)]
    return float(np.abs(gaps).sum() / len(sure))


def brier(shares: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Squared distance of each row of ``shares`` [n, classes] from the label's corner, (n,)."""
    own = shares[np.arange(len(labels)), labels]
    return np.asarray((shares**2).sum(1) - 2 * own + 1)


def negative_log_likelihood(shares: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """-log probability of the label in nats, (n,)."""
    return np.asarray(-np.log(np.maximum(shares[np.arange(len(labels)), labels], _TINY)))
