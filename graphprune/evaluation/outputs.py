"""How far the outputs of one network are from those of another, output by output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphprune.data.batching import Batch

_ONE_LENGTH = 1e-3  # of it: what rounding in half precision leaves


@dataclass(frozen=True)
class OutputDifference:
    """``relative_error``: the L2 norm of the difference over that of the original's output, all samples together; of
    integers and booleans the share of entries that differ. ``cosine`` is between the two, as one vector each.

    ``reshaped`` counts runs in which the shapes differ: these are left out, and the figures are None where none is
    left, or where there is nothing to divide by. What is no array, or no numbers, is not compared.
    """

    name: str
    relative_error: float | None
    cosine: float | None
    reshaped: int


@dataclass
class _Sums:
    """Of one output, in float64."""

    is_float: bool = True
    entries: int = 0
    unequal: int = 0
    own: float = 0.0
    other: float = 0.0
    cross: float = 0.0
    gap: float = 0.0
    reshaped: int = 0
    gaps: list[np.ndarray] = field(default_factory=list)
    norms: list[np.ndarray] = field(default_factory=list)

    def add(self, one: np.ndarray, other: np.ndarray, samples: int) -> None:
        if one.shape != other.shape:
            self.reshaped += 1
            return
        self.is_float = self.is_float and one.dtype.kind in "fV"
        self.entries += one.size
        a, b = one.astype(np.float64).reshape(-1), other.astype(np.float64).reshape(-1)
        finite = np.isfinite(a) & np.isfinite(b)
        self.unequal += int(np.count_nonzero(one.reshape(-1) != other.reshape(-1)))
        a, b = a[finite], b[finite]
        self.own, self.other, self.cross = self.own + float(a @ a), self.other + float(b @ b), self.cross + float(a @ b)
        self.gap += float((a - b) @ (a - b))
        if samples:
            rows = samples if one.shape[:1] == (samples,) and finite.all() else 1
            self.gaps.append(np.square(a - b).reshape(rows, -1).sum(1))
            self.norms.append(np.square(a).reshape(rows, -1).sum(1))

    def result(self, name: str) -> OutputDifference:
        if not self.is_float:
            return OutputDifference(name, self.unequal / self.entries if self.entries else None, None, self.reshaped)
        norms = (self.own * self.other) ** 0.5
        error = (self.gap / self.own) ** 0.5 if self.own else (0.0 if self.entries and not self.gap else None)
        return OutputDifference(name, error, self.cross / norms if norms else None, self.reshaped)


@dataclass
class OutputComparison:
    """Compares outputs batch by batch; memory holds sums only."""

    names: Sequence[str]
    _sums: dict[str, _Sums] = field(default_factory=dict)

    def add(self, original: Sequence[Any], pruned: Sequence[Any], samples: int = 0) -> None:
        """The outputs of both networks for one batch, in the order of the names; with ``samples``, how many these are,
        :meth:`worst` can tell them apart.
        """
        for name, one, other in zip(self.names, original, pruned, strict=True):
            if isinstance(one, np.ndarray) and isinstance(other, np.ndarray) and _are_numbers(one):
                self._sums.setdefault(name, _Sums()).add(one, other, samples)

    def worst(self) -> tuple[np.ndarray, np.ndarray]:
        """Of the output with the largest relative error: squared difference and square of each sample, of each run
        where samples are no rows of it.
        """
        floats = [sums for sums in self._sums.values() if sums.gaps and sums.own and sums.is_float]
        if not floats:
            return np.zeros(0), np.zeros(0)
        found = max(floats, key=lambda sums: sums.gap / sums.own)
        return np.concatenate(found.gaps), np.concatenate(found.norms)

    def results(self) -> tuple[OutputDifference, ...]:
        """One difference for each output that was compared."""
        return tuple(sums.result(name) for name, sums in self._sums.items())


def _are_numbers(array: np.ndarray) -> bool:
    return array.dtype.kind in "fiub" or array.dtype.name.startswith(("bfloat", "float"))


def largest_error(outputs: Sequence[OutputDifference]) -> float:
    """The largest relative error; 1 where no shapes fit."""
    return max((1.0 if each.relative_error is None else each.relative_error for each in outputs), default=0.0)


def _has_one_length(rows: np.ndarray) -> bool:
    """Whether the rows (two or more) are of one Euclidean length, as embeddings are made to compare their directions;
    probabilities near 0 and 1 are, too, but never negative.
    """
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1)
    return len(rows) > 1 and bool(rows.min() < 0 and np.allclose(lengths, lengths[0], rtol=_ONE_LENGTH, atol=0.0))


def are_class_scores(part: Batch, scores: Any) -> bool:
    """One row of scores for each sample, or for each token that went in; anything else is no matter of choice: an
    embedding, say, whose rows all have one length.
    """
    if not isinstance(scores, np.ndarray) or scores.dtype.kind != "f" or scores.ndim < 2 or scores.shape[-1] < 2:
        return False
    if scores.ndim == 2:
        return len(scores) == len(part) and not _has_one_length(scores)
    tokens = (array.shape for array in part.feeds.values() if array.dtype.kind in "iu")
    return scores.ndim == 3 and scores.shape[:2] in tokens
