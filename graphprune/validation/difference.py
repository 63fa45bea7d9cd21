"""How far two arrays are apart, in parts of what the original gives there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_PIECE = 1 << 20  # numbers that are compared at a time, for each takes eight bytes several times over
_LEFT = 0.1  # of the original's range
_FLAT = 1e-3  # of the largest magnitude


@dataclass
class Extent:
    """Least and largest value of a tensor on some samples; what is not a finite float counts for nothing."""

    low: float = np.inf
    high: float = -np.inf

    def add(self, values: np.ndarray) -> None:
        """Widen it."""
        if values.dtype.kind in "fV":
            for (piece,) in _pieces(values):
                finite = piece[np.isfinite(piece)]
                self.low = min(self.low, float(finite.min(initial=self.low)))
                self.high = max(self.high, float(finite.max(initial=self.high)))

    @property
    def magnitude(self) -> float:
        """The largest absolute value; 0 where there is none."""
        return max(abs(self.low), abs(self.high)) if self.low <= self.high else 0.0

    def has_collapsed(self, original: Extent) -> bool:
        """Whether hardly anything is left of the range that the original has, or all values are nearly the same."""
        range_ = self.high - self.low
        return 0 <= range_ <= max(_LEFT * (original.high - original.low), _FLAT * self.magnitude)


def relative_error(reference: np.ndarray, result: np.ndarray, original_magnitude: float = 0.0) -> float:
    """``max|a - b|`` over the scale; infinite where shapes, dtypes or the places of NaN and infinity differ.

    The scale is ``original_magnitude``, the largest value of the original there, or ``max|a|`` if that is larger: a cut
    may drive an output to zero, and what rounding leaves there is no error.
    """
    if reference.shape != result.shape or reference.dtype != result.dtype:
        return float("inf")
    if reference.size == 0:
        return 0.0
    if reference.dtype.kind not in "fV":
        return 0.0 if np.array_equal(reference, result) else float("inf")
    scale, difference = original_magnitude, 0.0
    for a, b in _pieces(reference, result):
        finite = np.isfinite(a)
        if not np.array_equal(finite, np.isfinite(b)) or not np.array_equal(a[~finite], b[~finite], equal_nan=True):
            return float("inf")
        scale = max(scale, float(np.abs(a[finite]).max(initial=0.0)))
        difference = max(difference, float(np.abs(a[finite] - b[finite]).max(initial=0.0)))
    return difference / scale if scale else (0.0 if difference == 0 else float("inf"))


def _pieces(*arrays: np.ndarray) -> Iterator[tuple[NDArray[np.float64], ...]]:
    """Arrays of one size in double precision, some of their numbers at a time."""
    flat = [array.reshape(-1) for array in arrays]
    for start in range(0, flat[0].size, _PIECE):
        yield tuple(each[start : start + _PIECE].astype(np.float64) for each in flat)
