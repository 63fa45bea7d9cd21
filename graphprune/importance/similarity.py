"""Linear centred kernel alignment (CKA) between two feature matrices, in one pass over the samples.

Kornblith et al. 2019, equation for linear CKA in feature space; as a criterion for layers in "Effective Layer Pruning
Through Similarity Metric Perspective" (ICPR 2024), where a block's score is ``1 - CKA(R, R_i)`` of the representation
with and without it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Moments:
    """Sums over paired rows x_i (features of X) and y_i (of Y), enough for biased and debiased linear CKA.

    All in float64; ``q_i = |x_i|^2`` and ``r_i = |y_i|^2``. Two disjoint sets of rows add up with ``+``. Shapes: ``x``
    (dx,), ``y`` (dy,), ``xy`` (dx, dy), ``qy`` (dy,), ``rx`` (dx,); the rest are scalars. Rows should be shifted to
    about zero mean first, by the same vector in every batch, or cancellation eats the digits.
    """

    n: int
    x: Matrix
    y: Matrix
    xy: Matrix
    q: float
    r: float
    qr: float
    qy: Matrix
    rx: Matrix

    @classmethod
    def of(cls, x: Matrix, y: Matrix) -> Moments:
        """Moments of one batch, ``x`` of shape (n, dx) and ``y`` of shape (n, dy)."""
        q, r = np.einsum("ij,ij->i", x, x), np.einsum("ij,ij->i", y, y)
        return cls(
            n=len(x),
            x=x.sum(0),
            y=y.sum(0),
            xy=x.T @ y,
            q=float(q.sum()),
            r=float(r.sum()),
            qr=float(q @ r),
            qy=q @ y,
            rx=r @ x,
        )

    def __add__(self, other: Moments) -> Moments:
        return Moments(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))

    @property
    def is_constant(self) -> bool:
        """Whether what varies in X (for the moments of X with itself) is below the rounding of X."""
        return self.hsic() <= (_ROUNDING * self.q) ** 2

    @property
    def cross(self) -> Matrix:
        """``Xc' Yc`` of the centred rows, (dx, dy)."""
        return self.xy - np.outer(self.x, self.y / self.n)

    def hsic(self, *, debiased: bool = False) -> float:
        """``|Xc' Yc|^2`` (squared Frobenius norm of the centred cross product), or its debiased form.

        Debiased: ``|Xc'Yc|^2 - n/(n-2) sum a_i b_i + (sum a_i)(sum b_i)/((n-1)(n-2))`` with ``a_i``,
        ``b_i`` the squared norms of the centred rows; equals ``n(n-3)`` times the unbiased HSIC estimator. Needs n > 3.
        """
        n, mu, nu = self.n, self.x / self.n, self.y / self.n
        cross = self.cross
        biased = float(np.einsum("ij,ij->", cross, cross))
        if not debiased:
            return biased
        _check_rows(n, debiased)
        mu2, nu2 = float(mu @ mu), float(nu @ nu)
        sum_a, sum_b = self.q - n * mu2, self.r - n * nu2
        sum_ab = (
            self.qr
            - 2 * float(nu @ self.qy)
            + nu2 * self.q
            - 2 * float(mu @ self.rx)
            + 4 * float(mu @ self.xy @ nu)
            - 2 * nu2 * float(mu @ self.x)
            + mu2 * self.r
            - 2 * mu2 * float(nu @ self.y)
            + n * mu2 * nu2
        )
        return biased - n / (n - 2) * sum_ab + sum_a * sum_b / ((n - 1) * (n - 2))


def cka(xx: Moments, yy: Moments, xy: Moments, *, debiased: bool = False) -> float:
    """``HSIC(X,Y) / sqrt(HSIC(X,X) HSIC(Y,Y))``, in [0, 1] (debiased: at most 1, may be negative).

    Constant features have no similarity to anything: the answer is 0.
    """
    if xx.is_constant or yy.is_constant:
        return 0.0
    return _ratio(*(moments.hsic(debiased=debiased) for moments in (xx, yy, xy)))


def _ratio(xx: float, yy: float, xy: float) -> float:
    scale = xx * yy
    return float(xy / np.sqrt(scale)) if scale > 0 and np.isfinite(scale) else 0.0


def centred(rows: NDArray[np.floating]) -> Matrix:
    """``rows`` (n, d) less their column means, in float64; zeros where what varies is below the rounding."""
    values = np.asarray(rows, np.float64)
    less: Matrix = values - values.mean(0)
    return np.zeros_like(less) if np.sum(less**2) <= (_ROUNDING**2) * np.sum(values**2) else less


def spanned(rows: Matrix) -> Matrix:
    """The same rows (n, d) in a basis of their span where they are fewer than features: (n, n),
    all inner products as before.
    """
    if len(rows) >= rows.shape[1]:
        return rows
    return np.asarray(np.linalg.qr(rows.T, mode="r"), np.float64).T


def linear_cka(x: NDArray[np.floating], y: NDArray[np.floating], *, debiased: bool = False) -> float:
    """Linear CKA of two whole matrices with paired rows, ``x`` (n, dx) and ``y`` (n, dy).

    With fewer samples than features the (n, n) Gram matrices say the same for less.
    """
    _check_rows(len(x), debiased)
    xc, yc = centred(x), centred(y)
    if not (xc.any() and yc.any()):
        return 0.0
    if len(xc) >= min(xc.shape[1], yc.shape[1]):
        return cka(Moments.of(xc, xc), Moments.of(yc, yc), Moments.of(xc, yc), debiased=debiased)
    k, l = xc @ xc.T, yc @ yc.T  # noqa: E741 - the literature's names
    return _ratio(*(_gram_hsic(one, other, debiased) for one, other in ((k, k), (l, l), (k, l))))


def _gram_hsic(k: Matrix, l: Matrix, debiased: bool) -> float:  # noqa: E741
    """As :meth:`Moments.hsic`, from centred Gram matrices (n, n)."""
    n, a, b = len(k), np.diag(k), np.diag(l)
    biased = float(np.einsum("ij,ij->", k, l))
    if not debiased:
        return biased
    return biased - n / (n - 2) * float(a @ b) + float(a.sum() * b.sum()) / ((n - 1) * (n - 2))


def _check_rows(n: int, debiased: bool) -> None:
    if debiased and n <= 3:
        raise ValueError(f"debiased CKA needs more than 3 samples, not {n}")
