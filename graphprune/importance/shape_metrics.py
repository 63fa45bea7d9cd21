"""Shape metrics: the angle between two sets of features once one is moved onto the other as well as its group allows.

Williams et al., "Generalized Shape Metrics on Neural Representations" (NeurIPS 2021);
as criteria for blocks in "Layer Pruning with Consensus" (IEEE Access 2025). Columns are centred. The group is the
permutations of features (:func:`permutation`), the rotations (:func:`linear`, ``alpha=1``) or all invertible maps
(``alpha=0``). Fitted and scored on the same rows: the authors' code draws its 8 rows to fit and 2 to score by the
number of classes, far fewer than features, so that even equal features come out near a right angle.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import numpy as np
from numpy.typing import NDArray

from graphprune.importance.similarity import Matrix, Moments, centred

_RANK_CUT = 1e-10  # of the largest eigenvalue of X'X; rounding in float32 features is near 1e-14


@dataclass(frozen=True)
class Products:
    """Centred products of paired features X (n, dx) and Y (n, dy), float64: ``xx = Xc'Xc``, ``yy = Yc'Yc``,
    ``xy = Xc'Yc``.

    They add up over batches, so all metrics here can be streamed. Features that do not vary have products of zero.
    """

    xx: Matrix
    yy: Matrix
    xy: Matrix

    @classmethod
    def of(cls, x: NDArray[np.floating], y: NDArray[np.floating]) -> Products:
        """From whole matrices with paired rows."""
        xc, yc = centred(x), centred(y)
        return cls(xc.T @ xc, yc.T @ yc, xc.T @ yc)

    @classmethod
    def from_moments(cls, xx: Moments, yy: Moments, xy: Moments) -> Products:
        """From sums over all rows."""
        x_varies, y_varies = (not each.is_constant for each in (xx, yy))
        return cls(xx.cross * x_varies, yy.cross * y_varies, xy.cross * (x_varies and y_varies))

    @property
    def is_finite(self) -> bool:
        """Whether no feature was NaN or infinite."""
        return all(bool(np.isfinite(each).all()) for each in (self.xx, self.yy))


def permutation(products: Products) -> float:
    """``arccos(max_P tr(Xc'Yc P) / (|Xc| |Yc|))`` over all permutations P of the features, in [0, pi];
    dx must equal dy.
    """
    from scipy.optimize import linear_sum_assignment  # takes a while to import

    if not products.is_finite:
        return pi / 2
    rows, columns = linear_sum_assignment(products.xy, maximize=True)
    return _angle(float(products.xy[rows, columns].sum()), float(np.trace(products.xx)), float(np.trace(products.yy)))


def linear(products: Products, alpha: float) -> float:
    """``arccos(|Zx Xc'Yc Zy|_nuclear / (|Xc Zx| |Yc Zy|))`` with partly whitening maps Z, in [0, pi/2].

    ``Z = V diag(alpha + (1 - alpha) lambda^(-1/2)) V'`` from ``Xc'Xc = V diag(lambda) V'``,
    without directions that hardly vary. With ``alpha=1`` the distance after the best rotation; with ``alpha=0`` the
    arccos of the mean canonical correlation, which is 0 whenever there are no more rows than features. (The authors'
    rescaling of Z to the old total variance has no effect on an angle; their cut at an eigenvalue of 1e-7 depends on
    the scale of the features, this one does not.)
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is {alpha}, not in [0, 1]")
    if not products.is_finite:
        return pi / 2
    zx, zy = _whitener(products.xx, alpha), _whitener(products.yy, alpha)
    inner = float(np.linalg.svd(zx @ products.xy @ zy, compute_uv=False).sum())
    return _angle(inner, float(np.trace(zx @ products.xx @ zx)), float(np.trace(zy @ products.yy @ zy)))


def _whitener(gram: Matrix, alpha: float) -> Matrix:
    if alpha == 1:
        return np.eye(len(gram))
    values, vectors = np.linalg.eigh(gram)
    kept = (values > 0) & (values >= _RANK_CUT * values[-1])
    scales = alpha + (1 - alpha) / np.sqrt(values[kept])
    whitening: Matrix = (vectors[:, kept] * scales) @ vectors[:, kept].T
    return whitening


def _angle(inner: float, x_squared: float, y_squared: float) -> float:
    """Angle between two matrices from their inner product and squared norms; a right one where either is zero."""
    scale = np.sqrt(x_squared) * np.sqrt(y_squared)
    if not (np.isfinite(scale) and scale > 0):
        return pi / 2
    return float(np.arccos(np.clip(inner / scale, -1, 1)))
