"""Few rows of many inputs, kept as they are: a regression on them is a system of the rows, not of the inputs.

A convolution of 512 channels reads 4,608 numbers; 64 small images give it 256 rows. Their products would be a matrix of
4,608 x 4,608, to be taken apart for every penalty that is tried; the rows among themselves are one of 256 x 256.
"""

from __future__ import annotations

import numpy as np

from graphprune.repair.gram import Array, HalvedSums, Rows, Sums


class KeptRows:
    """Rows x (n, inputs) and targets t (n, outputs), all in one group; what :class:`Sums` tells of them, from them."""

    def __init__(self) -> None:
        self._parts: list[tuple[Rows, Rows]] = []

    def add(self, x: Rows, t: Rows) -> None:
        """Rows x (n, 1, inputs) and t (n, 1, outputs)."""
        self._parts.append((x[:, 0].copy(), t[:, 0].copy()))  # what they are parts of need not stay

    def __add__(self, other: KeptRows) -> KeptRows:
        both = KeptRows()
        both._parts = self._parts + other._parts
        return both

    @property
    def n(self) -> int:
        return sum(len(x) for x, _ in self._parts)

    @property
    def x(self) -> Array:
        return np.concatenate([x for x, _ in self._parts]).astype(np.float64)

    @property
    def t(self) -> Array:
        return np.concatenate([t for _, t in self._parts]).astype(np.float64)

    def into(self, sums: Sums) -> None:
        """Add them to ``sums``, and keep them no longer."""
        while self._parts:
            x, t = self._parts.pop()
            sums.add(x[:, None], t[:, None])

    def error(self, matrix: Array, shift: Array) -> float:
        """As :meth:`Sums.error`."""
        if not self._parts:
            return 0.0
        return float(np.square(self.t - self.x @ matrix[0] - shift[0]).sum())


def most_rows(groups: int, inputs: int) -> int:
    """Of each half that are kept."""
    return inputs // 2 if groups == 1 else 0


class HalvedRows(HalvedSums):
    """Rows of even and odd samples, kept for as long as they are fewer than half of the inputs, and then summed."""

    def __init__(self, groups: int, inputs: int, outputs: int) -> None:
        super().__init__(groups, inputs, outputs)
        self._most = most_rows(groups, inputs)
        self._kept = (KeptRows(), KeptRows())

    def take(self, index: int, x: Rows, t: Rows, weights: Rows | None = None) -> None:
        if weights is None and self._kept[index].n + len(x) <= self._most:
            self._kept[index].add(x, t)
            return
        self._sum_up()
        self.halves[index].add(x, t, weights)

    @property
    def whole(self) -> Sums:
        self._sum_up()
        return super().whole

    @property
    def variation(self) -> float:
        if (rows := self.rows()) is None:
            return self.whole.variation
        targets = (rows[0] + rows[1]).t[:, None]
        alone = Sums.empty(1, 0, targets.shape[-1])
        alone.add(targets[..., :0], targets)
        return alone.variation

    def rows(self) -> tuple[KeptRows, KeptRows] | None:
        """Those of both halves; None where there were too many, or none at all."""
        return self._kept if self._most and any(each.n for each in self._kept) else None

    def _sum_up(self) -> None:
        self._most = 0
        for kept, half in zip(self._kept, self.halves, strict=True):
            kept.into(half)
