"""Pairs of feature matrices to compare."""

from __future__ import annotations

import numpy as np

# Source: methods.md section 2, "Test vectors".
X = np.array([[1, 0], [0, 1], [1, 1], [2, 3], [3, 1]], np.float64)
Y = np.array([[1, 2], [0, 1], [2, 1], [1, 4], [4, 0]], np.float64)


def pair(seed: int, n: int, d: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Two related feature matrices whose columns are far from zero mean."""
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((n, d)) + generator.uniform(-3, 3, d)
    return x, x @ generator.standard_normal((d, d)) + generator.standard_normal((n, d))
