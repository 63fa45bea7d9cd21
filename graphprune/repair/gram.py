"""Sums over paired rows, enough to fit one matrix to another and to know the error on rows not used for the fit.

Even and odd samples are summed apart: each half judges what the other has found. All in float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_ROUNDING = 1e-12  # of a sum of squares


@dataclass
class Sums:
    """Over rows x (groups, inputs) and targets t (groups, outputs): counts, sums and products."""

    n: int
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

    def add(self, x: Array, t: Array) -> None:
        """Rows x (n, groups, inputs) and t (n, groups, outputs)."""
        self.n += len(x)
        self.x += x.sum(0)
        self.t += t.sum(0)
        if x.shape[1] == 1:  # one matrix product is several times faster than a stack of one
            flat, target = x[:, 0], t[:, 0]
            self.xx[0] += flat.T @ flat
            self.xt[0] += flat.T @ target
        else:
            turned = x.transpose(1, 2, 0)
            self.xx += turned @ x.transpose(1, 0, 2)
            self.xt += turned @ t.transpose(1, 0, 2)
        self.tt += np.einsum("ngo,ngo->go", t, t)

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
        self.halves = tuple(Sums.empty(groups, inputs, outputs) for _ in range(2))
        self._samples = 0

    @staticmethod
    def memory_bytes(groups: int, inputs: int, outputs: int) -> int:
        return 2 * 8 * groups * inputs * (inputs + outputs)

    def add(self, x: Array, t: Array, samples: int) -> None:
        """Rows of ``samples`` samples, the same number of rows each; x (n, groups, inputs), t (n, groups, outputs)."""
        first = self._samples % 2
        self._samples += samples
        if len(x) % samples:
            self.halves[first].add(x, t)
            return
        xs, ts = (rows.reshape(samples, -1, *rows.shape[1:]) for rows in (x, t))
        for index, half in ((first, slice(0, None, 2)), (1 - first, slice(1, None, 2))):
            picked = xs[half]
            if len(picked):
                self.halves[index].add(picked.reshape(-1, *x.shape[1:]), ts[half].reshape(-1, *t.shape[1:]))

    @property
    def whole(self) -> Sums:
        return self.halves[0] + self.halves[1]
