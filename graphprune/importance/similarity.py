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

    def hsic(self, *, debiased: bool = False) -> float:
        """``|Xc' Yc|^2`` (squared Frobenius norm of the centred cross product), or its debiased form.

        Debiased: ``|Xc'Yc|^2 - n/(n-2) sum a_i b_i + (sum a_i)(sum b_i)/((n-1)(n-2))`` with ``a_i``, ``b_i`` the squared
        norms of the centred rows; equals ``n(n-3)`` times the unbiased HSIC estimator. Needs n > 3.
        """
        n, mu, nu = self.n, self.x / self.n, self.y / self.n
        cross = self.xy - np.outer(self.x, nu)
        biased = float(np.einsum("ij,ij->", cross, cross))
        if not debiased:
            return biased
        if n <= 3:
            raise ValueError(f"debiased CKA needs more than 3 samples, not {n}")
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
    scale = xx.hsic(debiased=debiased) * yy.hsic(debiased=debiased)
    if not scale > 0 or not np.isfinite(scale) or xx.is_constant or yy.is_constant:
        return 0.0
    return float(xy.hsic(debiased=debiased) / np.sqrt(scale))


def linear_cka(x: NDArray[np.floating], y: NDArray[np.floating], *, debiased: bool = False) -> float:
    """Linear CKA of two whole matrices with paired rows, ``x`` (n, dx) and ``y`` (n, dy)."""
    x64, y64 = (np.asarray(m, np.float64) - np.mean(m, axis=0, dtype=np.float64) for m in (x, y))
    return cka(Moments.of(x64, x64), Moments.of(y64, y64), Moments.of(x64, y64), debiased=debiased)


class StreamedCKA:
    """CKA of a reference X against candidates Y_1..Y_k over batches, with a standard error from two halves of the data.

    The halves are the even and the odd rows. Memory: about ``4 * 8 * d**2`` bytes per candidate.
    """

    def __init__(self, candidates: int, *, debiased: bool = False) -> None:
        self.debiased = debiased
        self._shift: Matrix | None = None
        self._shifts: dict[int, Matrix] = {}  # of the candidates, whose means may be far from the reference's
        self._rows_seen = 0
        self._x: Matrix = np.empty((0, 0))
        self._xx: list[Moments | None] = [None, None]
        self._yy: list[list[Moments | None]] = [[None] * candidates, [None] * candidates]
        self._xy: list[list[Moments | None]] = [[None] * candidates, [None] * candidates]

    def reference(self, features: NDArray[np.floating]) -> None:
        """Begin a batch with the reference's features (n, d)."""
        x = np.asarray(features, np.float64)
        if self._shift is None:
            self._shift = x.mean(0)
        self._rows_seen += len(self._x)
        self._x = x - self._shift
        for half, rows in self._halves():
            self._xx[half] = _plus(self._xx[half], Moments.of(self._x[rows], self._x[rows]))

    def candidate(self, index: int, features: NDArray[np.floating]) -> None:
        """Features (n, d) of candidate ``index`` on the rows of the current batch."""
        if self._shift is None:
            raise ValueError("candidate() before reference()")
        y = np.asarray(features, np.float64)
        y = y - self._shifts.setdefault(index, y.mean(0))
        for half, rows in self._halves():
            self._yy[half][index] = _plus(self._yy[half][index], Moments.of(y[rows], y[rows]))
            self._xy[half][index] = _plus(self._xy[half][index], Moments.of(self._x[rows], y[rows]))

    def result(self, index: int) -> tuple[float, float]:
        """Similarity of candidate ``index`` and its standard error."""
        one, two = (
            tuple(m for m in (self._xx[half], self._yy[half][index], self._xy[half][index]) if m is not None)
            for half in (0, 1)
        )
        whole = one if not two else tuple(a + b for a, b in zip(one, two, strict=True))
        value = cka(*whole, debiased=self.debiased)
        if not two or (self.debiased and min(one[0].n, two[0].n) <= 3):
            return value, float("nan")
        return value, abs(cka(*one, debiased=self.debiased) - cka(*two, debiased=self.debiased)) / 2

    @property
    def rows(self) -> int:
        """Rows of the reference seen so far."""
        return self._rows_seen + len(self._x)

    @property
    def is_informative(self) -> bool:
        """Whether the reference is finite and varies by more than float32 noise; else every similarity is 0."""
        parts = [moments for moments in self._xx if moments is not None]
        if not parts or self._shift is None:
            return False
        whole = parts[0] if len(parts) == 1 else parts[0] + parts[1]
        noise = 1e-12 * whole.n * float(self._shift @ self._shift)
        return bool(np.isfinite(noise)) and noise**2 < whole.hsic() < np.inf

    def _halves(self) -> list[tuple[int, slice]]:
        """Which rows of the current batch belong to which half; empty ones are left out."""
        first = self._rows_seen % 2
        parts = [(0, slice(first, None, 2)), (1, slice(1 - first, None, 2))]
        return [(half, rows) for half, rows in parts if len(self._x[rows])]


def _plus(total: Moments | None, new: Moments) -> Moments:
    return new if total is None else total + new
