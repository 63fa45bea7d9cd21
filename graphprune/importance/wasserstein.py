"""The Wasserstein distance of all values of two feature matrices, whichever sample and feature they belong to."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def wasserstein(x: NDArray[np.floating], y: NDArray[np.floating]) -> float:
    """1-D Wasserstein-1 distance between the entries of ``x`` and ``y``, in the units of the features.

    A criterion of "Layer Pruning with Consensus" (IEEE Access 2025). Infinite where an entry is not finite.
    """
    from scipy.stats import wasserstein_distance  # takes half a second to import

    one, other = np.asarray(x, np.float64).ravel(), np.asarray(y, np.float64).ravel()
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        return math.inf
    return float(wasserstein_distance(one, other))
