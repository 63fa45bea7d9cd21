"""Stochastic shape metrics: how far apart two sets of features are, class by class, as Gaussians,
after the best rotation.

Duong et al., "Representational Dissimilarity Metric Spaces for Stochastic Neural Networks" (ICLR 2023);
as criteria for blocks in "Layer Pruning with Consensus" (IEEE Access 2025).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import orthogonal_procrustes

from graphprune.importance.similarity import Matrix, spanned

_MAX_ROUNDS = 1000
_TOLERANCE = 1e-6
_ROUNDING = 1e-15


def gaussian_stochastic(
    x: NDArray[np.floating], y: NDArray[np.floating], labels: NDArray[np.integer], alpha: float
) -> float:
    """``min_T sqrt(mean_k(alpha |m_k - T m'_k|^2 + (2 - alpha) Bures^2(S_k, T S'_k T')))`` over orthogonal T.

    ``m_k``, ``S_k`` are mean and covariance of class k in ``x`` (n, d), the dashed ones in ``y`` (n, d),
    whose rows are paired; ``labels`` (n,) are the classes. ``alpha`` 2 compares means only, 0 covariances only, 1 is
    the 2-Wasserstein distance of the Gaussians. In the units of the features, >= 0;
    infinite where a feature is not finite.

    With centred rows ``R_k' R_k = S_k`` the Bures distance is ``min_Q |R_k - Q R'_k T'|`` over orthogonal Q,
    so all of it is one Procrustes problem of stacked rows in which each class has a rotation of its own besides.
    T and the Q_k are found in turn, up to 1000 times or until a turn gains less than a millionth of what is left (the
    authors': 1e-8 in squared units of the features). It begins with T from the paired rows, all Q_k = 1; theirs from
    the K means alone, which leave all but K directions to chance. The end is a local
    optimum: for features that differ much there may be a smaller one, for equal or turned ones it is 0.
    """
    if not 0 <= alpha <= 2:
        raise ValueError(f"alpha is {alpha}, not in [0, 2]")
    one, other = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        return math.inf
    one, other = spanned(one), spanned(other)
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    mean_weight, row_weight = math.sqrt(alpha), math.sqrt(2 - alpha)
    (means, rows), (other_means, other_rows) = (_by_class(each, members) for each in (one, other))
    if alpha == 2:
        rows, other_rows = [], []
    fixed = np.concatenate([mean_weight * means, *(row_weight * each for each in rows)])
    moving = np.concatenate([mean_weight * other_means, *(row_weight * each for each in other_rows)])
    total = float(np.sum(fixed**2) + np.sum(moving**2))
    rotation, _ = orthogonal_procrustes(moving, fixed)
    rows, other_rows = [_shortened(each) for each in rows], [_shortened(each) for each in other_rows]
    fixed = np.concatenate([mean_weight * means, *(row_weight * each for each in rows)])
    error = math.inf
    for _ in range(_MAX_ROUNDS):
        turned = [_turned(each, rotation, aim) for each, aim in zip(other_rows, rows, strict=True)]
        moving = np.concatenate([mean_weight * other_means, *(row_weight * each for each in turned)])
        before, error = error, float(np.sum((moving @ rotation - fixed) ** 2))
        if before - error <= _TOLERANCE * error + _ROUNDING * total:
            break
        rotation, _ = orthogonal_procrustes(moving, fixed)
    return math.sqrt(min(before, error) / len(members))


def _by_class(rows: Matrix, members: Sequence[NDArray[np.intp]]) -> tuple[Matrix, list[Matrix]]:
    """Means (K, d) and for each class centred rows (n_k, d)
    whose products are its unbiased covariance (zero for one sample).
    """
    means = np.stack([rows[each].mean(0) for each in members])
    centred = [
        (rows[each] - mean) / math.sqrt(max(1, len(each) - 1)) for each, mean in zip(members, means, strict=True)
    ]
    return means, centred


def _shortened(rows: Matrix) -> Matrix:
    """At most d rows with the same products."""
    if len(rows) <= rows.shape[1]:
        return rows
    return np.asarray(np.linalg.qr(rows, mode="r"), np.float64)


def _turned(rows: Matrix, rotation: Matrix, aim: Matrix) -> Matrix:
    """``Q rows`` with the orthogonal Q that brings ``rows @ rotation`` closest to ``aim``."""
    transposed, _ = orthogonal_procrustes((rows @ rotation).T, aim.T)
    turned: Matrix = transposed.T @ rows
    return turned
