"""Partial least squares written down again, as the textbooks do: NIPALS in regression mode, every step spelt out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class PLS(NamedTuple):
    """Of c components: unit weights (p, c), scores (n, c), response loadings (k, c)."""

    weights: np.ndarray
    scores: np.ndarray
    loadings: np.ndarray

    def vip(self) -> np.ndarray:
        """One feature and one component at a time."""
        p, components = self.weights.shape
        s = [
            float(self.scores[:, a] @ self.scores[:, a]) * float(np.sum(self.loadings[:, a] ** 2))
            for a in range(components)
        ]
        return np.array(
            [np.sqrt(p * sum(s[a] * self.weights[j, a] ** 2 for a in range(components)) / sum(s)) for j in range(p)]
        )


def nipals(x: np.ndarray, y: np.ndarray, components: int, *, standardise: bool = True) -> PLS:
    """PLS of features (n, p) and responses (n, k), centred, and standardised if asked."""
    x, y = x - x.mean(0), y - y.mean(0)
    if standardise:
        x, y = x / x.std(0), y / y.std(0)
    weights, scores, loadings = [], [], []
    for _ in range(components):
        u, last = y[:, 0], np.zeros(x.shape[1])
        for _ in range(20_000):
            w = x.T @ u / (u @ u)
            w /= np.linalg.norm(w)
            t = x @ w
            q = y.T @ t / (t @ t)
            u = y @ q / (q @ q)
            if np.linalg.norm(w - last) < 1e-15:
                break
            last = w
        x = x - np.outer(t, x.T @ t / (t @ t))
        y = y - np.outer(t, q)
        weights.append(w)
        scores.append(t)
        loadings.append(q)
    return PLS(np.column_stack(weights), np.column_stack(scores), np.column_stack(loadings))
