"""CKA of one reference against many candidates, batch by batch, in memory that does not grow with the data.

As long as a half of the data has no more rows than features, its rows are kept: they are smaller than their moments.
Past that they are folded into moments and forgotten.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from graphprune.importance.shape_metrics import Products
from graphprune.importance.similarity import Matrix, Moments, centred, cka, linear_cka, spanned

Rows = NDArray[np.floating]

_MIN_ROWS = 3  # the centred rows of two samples are opposite: their CKA is always 1
_DEBIASED_MIN_ROWS = 4


class _Half:
    """Rows not yet folded, and the moments of those that are; all moments are about the same shifts."""

    def __init__(self) -> None:
        self.rows = 0
        self.x: list[Rows] = []
        self.y: dict[int, list[Rows]] = defaultdict(list)
        self.xx: Moments | None = None
        self.yy: dict[int, Moments] = {}
        self.xy: dict[int, Moments] = {}

    def fold(self, shift: Matrix, shifts: dict[int, Matrix]) -> None:
        """Turn the kept rows into moments."""
        if not self.x:
            return
        x = np.concatenate(self.x) - shift
        self.xx = _plus(self.xx, Moments.of(x, x))
        for index, rows in self.y.items():
            y = np.concatenate(rows) - shifts[index]
            self.yy[index] = _plus(self.yy.get(index), Moments.of(y, y))
            self.xy[index] = _plus(self.xy.get(index), Moments.of(x, y))
        self.x.clear()
        self.y.clear()


def _plus(total: Moments | None, new: Moments) -> Moments:
    return new if total is None else total + new


class StreamedCKA:
    """CKA of a reference X against candidates Y_0, Y_1, ... with a standard error from the even and the odd rows."""

    def __init__(self, *, debiased: bool = False) -> None:
        self.debiased = debiased
        self.rows = 0
        self._batch_starts_odd = False
        self._halves = (_Half(), _Half())
        self._shift: Matrix | None = None
        self._shifts: dict[int, Matrix] = {}  # of the candidates, whose means may be far from the reference's
        self._variation = 0.0

    @staticmethod
    def memory_bytes(rows: int, width: int) -> int:
        """At most what one candidate takes after ``rows`` rows of ``width`` float32 features."""
        return min(4 * rows * width, 4 * 8 * width**2)

    def reference(self, features: Rows, labels: object = None) -> None:
        """Begin a batch with the reference's features (n, d); labels say nothing to CKA."""
        if self._shift is None:
            self._shift = features.mean(0, dtype=np.float64)
        for half in self._halves:
            if sum(map(len, half.x)) > features.shape[1]:
                half.fold(self._shift, self._shifts)
        self._variation += float(np.sum((features - self._shift) ** 2))
        self._batch_starts_odd = bool(self.rows % 2)
        self.rows += len(features)
        for half, rows in self._split(features):
            half.x.append(rows)
            half.rows += len(rows)

    def candidate(self, index: int, features: Rows) -> None:
        """Features (n, d) of candidate ``index`` on the rows of the current batch."""
        if self._shift is None:
            raise ValueError("candidate() before reference()")
        self._shifts.setdefault(index, features.mean(0, dtype=np.float64))
        for half, rows in self._split(features):
            half.y[index].append(rows)

    def result(self, index: int) -> tuple[float, float]:
        """Similarity of candidate ``index`` and its standard error, NaN where the halves are too small for one."""
        halves = [half for half in self._halves if half.rows]
        whole = self._similarity(halves, index)
        if len(halves) < 2 or (self.debiased and min(half.rows for half in halves) < _DEBIASED_MIN_ROWS):
            return whole, float("nan")
        one, two = (self._similarity([half], index) for half in halves)
        return whole, abs(one - two) / 2

    def products(self, index: int, *, in_span: bool = False) -> Products:
        """Centred products with candidate ``index`` over all rows.

        With ``in_span`` in bases of the spans of the rows, where these are fewer than features: (n, n) instead of (d,
        d), and as good for everything that rotations of X and of Y do not change.
        """
        halves = [half for half in self._halves if half.rows]
        if all(half.xx is None for half in halves):
            x, y = (centred(rows) for rows in self._kept(halves, index))
            return Products.of(spanned(x), spanned(y)) if in_span else Products.of(x, y)
        return Products.from_moments(*self._moments(halves, index))

    @property
    def least_rows(self) -> int:
        """Below this many rows the similarity says nothing; debiased, each half needs its four."""
        return 2 * _DEBIASED_MIN_ROWS if self.debiased else _MIN_ROWS

    @property
    def is_informative(self) -> bool:
        """Whether the reference is finite and varies by more than float32 noise; else every similarity is 0."""
        if self._shift is None:
            return False
        noise = 1e-12 * self.rows * float(self._shift @ self._shift)
        return bool(np.isfinite(noise)) and noise < self._variation < np.inf

    def _split(self, features: Rows) -> list[tuple[_Half, Rows]]:
        """The rows of the current batch by half, without halves that get none."""
        odd = int(self._batch_starts_odd)
        parts = [(self._halves[0], features[odd::2]), (self._halves[1], features[1 - odd :: 2])]
        return [(half, rows.copy()) for half, rows in parts if len(rows)]

    def _similarity(self, halves: list[_Half], index: int) -> float:
        if all(half.xx is None for half in halves):
            return linear_cka(*self._kept(halves, index), debiased=self.debiased)
        return cka(*self._moments(halves, index), debiased=self.debiased)

    @staticmethod
    def _kept(halves: list[_Half], index: int) -> tuple[Rows, Rows]:
        """The rows of halves that have folded none."""
        x = np.concatenate([rows for half in halves for rows in half.x])
        return x, np.concatenate([rows for half in halves for rows in half.y[index]])

    def _moments(self, halves: list[_Half], index: int) -> tuple[Moments, Moments, Moments]:
        """Of X with itself, of candidate ``index`` with itself, and of both."""
        assert self._shift is not None  # there are rows
        xx: Moments | None = None
        yy: Moments | None = None
        xy: Moments | None = None
        for half in halves:
            half.fold(self._shift, self._shifts)
            assert half.xx is not None  # it holds rows, and they are folded now
            xx, yy, xy = _plus(xx, half.xx), _plus(yy, half.yy[index]), _plus(xy, half.xy[index])
        assert xx is not None and yy is not None and xy is not None  # there is at least one half
        return xx, yy, xy
