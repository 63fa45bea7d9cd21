"""Sums over paired rows, enough to fit one matrix to another and to know the error on rows not used for the fit.

Even and odd samples are summed apart: each half judges what the other has found. Sums are float64;
products of float32 rows are made in float32, chunk by chunk.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Rows = NDArray[np.floating[Any]]

_ROUNDING = 1e-12  # of a sum of squares


@dataclass
class Sums:
    """Over rows x (groups, inputs) and targets t (groups, outputs): counts, sums and products."""

    n: float
    x: Array
    t: Array
    xx: Array
    xt: Array
    tt: Array

    @classmethod
    def empty(cls, groups: int, inputs: int, outputs: int) -> Sums:
        return cls(
            0,
            np.zeros((groups, inputs)),
            np.zeros((groups, outputs)),
            np.zeros((groups, inputs, inputs)),
            np.zeros((groups, inputs, outputs)),
            np.zeros((groups, outputs)),
        )

    def add(self, x: Rows, t: Rows, weights: Rows | None = None) -> None:
        """Rows x (n, groups, inputs) and t (n, groups, outputs), of one type; their squares count ``weights`` (n,)
        squared, each once if there are none.
        """
        if weights is None:
            self.n += len(x)
            self.x += x.sum(0, dtype=np.float64)
            self.t += t.sum(0, dtype=np.float64)
        else:
            factors = weights[:, None, None]
            x, t = x * factors, t * factors
            self.n += float(np.sum(weights**2, dtype=np.float64))
            self.x += np.sum(x * factors, axis=0, dtype=np.float64)
            self.t += np.sum(t * factors, axis=0, dtype=np.float64)
        if x.shape[1] == 1:  # one matrix product is several times faster than a stack of one
            flat, target = x[:, 0], t[:, 0]
            self.xx[0] += flat.T @ flat
            self.xt[0] += flat.T @ target
        else:
            turned = x.transpose(1, 2, 0)
            self.xx += turned @ x.transpose(1, 0, 2)
            self.xt += turned @ t.transpose(1, 0, 2)
        self.tt += np.einsum("ngo,ngo->go", t, t, dtype=np.float64)

    def picked(self, inputs: NDArray[np.bool_]) -> Sums:
        """Of some ``inputs`` (inputs,) alone."""
        return Sums(self.n, self.x[:, inputs], self.t, self.xx[:, inputs][:, :, inputs], self.xt[:, inputs], self.tt)

    def __add__(self, other: Sums) -> Sums:
        return Sums(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))

    def error(self, matrix: Array, shift: Array) -> float:
        """Sum of squares of ``t - x matrix - shift``; matrix (groups, inputs, outputs), shift (groups, outputs)."""
        squares = np.einsum("gio,gio->go", matrix, self.xx @ matrix)
        cross = np.einsum("gio,gio->go", matrix, self.xt)
        mean = np.einsum("gi,gio->go", self.x, matrix)
        parts = self.tt + squares - 2 * cross + 2 * shift * mean - 2 * shift * self.t + self.n * shift**2
        return max(0.0, float(parts.sum()))

    @property
    def variation(self) -> float:
        """Sum of squares of the targets about their means; never less than what rounding makes of constant ones."""
        return float(max((self.tt - self.t**2 / max(1, self.n)).sum(), _ROUNDING * self.tt.sum()))


class HalvedSums:
    """:class:`Sums` of even and odd samples."""

    def __init__(self, groups: int, inputs: int, outputs: int) -> None:
        self._shape = (groups, inputs, outputs)
        self._samples = 0

    @cached_property
    def halves(self) -> tuple[Sums, ...]:
        """Of both; empty ones take memory from the first rows on."""
        return tuple(Sums.empty(*self._shape) for _ in range(2))

    @staticmethod
    def memory_bytes(groups: int, inputs: int, outputs: int) -> int:
        return 2 * 8 * groups * inputs * (inputs + outputs)

    def add(
        self,
        x: Rows,
        t: Rows,
        samples: int,
        counted: NDArray[np.bool_] | None = None,
        weights: Rows | None = None,
    ) -> None:
        """Rows of ``samples`` samples, the same number of rows each; x (n, groups, inputs), t (n, groups, outputs).

        Rows (n,) that are not ``counted`` are left out; ``weights`` (n,) are as for :meth:`Sums.add`.
        """
        first = self._samples % 2
        self._samples += samples
        if counted is None and weights is None and samples and len(x) % samples == 0:  # slices, not masks
            for index in range(2):
                mine, target = (_every_second(rows, samples, (index - first) % 2) for rows in (x, t))
                if len(mine):
                    self.take(index, mine, target)
            return
        sample = np.arange(len(x)) * samples // max(1, len(x)) if len(x) % samples == 0 else np.zeros(len(x), np.intp)
        for index in range(2):
            mine = (sample + first) % 2 == index
            if counted is not None:
                mine &= counted
            if mine.all():
                self.take(index, x, t, weights)
            elif mine.any():
                self.take(index, x[mine], t[mine], None if weights is None else weights[mine])

    def take(self, index: int, x: Rows, t: Rows, weights: Rows | None = None) -> None:
        """Rows of one half."""
        self.halves[index].add(x, t, weights)

    def picked(self, inputs: NDArray[np.bool_]) -> HalvedSums:
        """Of some ``inputs`` (inputs,) alone."""
        some = HalvedSums(1, 0, 0)
        some.halves, some._samples = tuple(half.picked(inputs) for half in self.halves), self._samples
        return some

    @property
    def whole(self) -> Sums:
        return self.halves[0] + self.halves[1]

    @property
    def variation(self) -> float:
        """That of all rows, see :attr:`Sums.variation`."""
        return self.whole.variation


def _every_second(rows: Rows, samples: int, start: int) -> Rows:
    """The rows of every second of ``samples`` samples from ``start`` on."""
    each = rows.reshape(samples, len(rows) // samples, *rows.shape[1:])[start::2]
    return each.reshape(each.shape[0] * each.shape[1], *rows.shape[1:])
