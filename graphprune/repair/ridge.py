"""Refit a layer from sums alone: ridge regression towards the weights it has, the penalty chosen on rows not used."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from graphprune.repair.gram import Array, HalvedSums, Sums
from graphprune.repair.kept_rows import HalvedRows, KeptRows

PENALTIES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Times the mean variance of the inputs."""

NOISE = 1e-12
"""A smaller share of the targets' variation is rounding in float32, and nothing to repair."""

_LEAST_SHARE = 1e-3  # of the mean variance: an input that hardly varies is held as well
_LEAST_VARIANCE = 1e-6  # of the mean square: inputs that hardly vary tell nothing of their weights


@dataclass(frozen=True)
class Fit:
    """New weights (groups, inputs, outputs) and shift (groups, outputs).

    ``before`` and ``after`` are held-out errors: squared, as a share of the targets' variation;
    ``penalty`` is what served.
    """

    matrix: Array
    shift: Array
    before: float
    after: float
    penalty: float


def refit(
    sums: HalvedSums,
    matrix: Array,
    shift: Array,
    *,
    with_shift: bool,
    alive: NDArray[np.bool_] | None = None,
    penalties: Sequence[float] | None = None,
    per_input: bool = False,
    variation: float | None = None,
) -> Fit:
    """The best weights for ``sums``, and how the present ones (``matrix``, ``shift``) and they do on held-out rows.

    ``argmin |T - X W - b|^2 + penalty |W - W_0|^2``: an infinite penalty changes nothing;
    with ``per_input`` it is a share of the variance of each input, not of their mean. Without ``with_shift``,
    b stays; so do the weights of outputs (groups, outputs) that are not ``alive``. Errors are shares of ``variation``,
    by default that of the targets.
    """
    free = np.broadcast_to(True if alive is None else alive, shift.shape)
    rows = sums.rows() if isinstance(sums, HalvedRows) else None
    one, other = rows or sums.halves
    scale = (sums.variation if variation is None else variation) or 1.0
    before = (one.error(matrix, shift) + other.error(matrix, shift)) / scale
    after, penalty = before, np.inf
    if one.n and other.n and before > NOISE:
        solvers = [
            (_solver(half, matrix, shift, with_shift, free, per_input), held_out)
            for half, held_out in ((one, other), (other, one))
        ]

        @cache
        def error(candidate: float) -> float:
            return sum(held_out.error(*solver.solve(candidate)) for solver, held_out in solvers) / scale

        penalty = lowest(PENALTIES if penalties is None else penalties, error)
        after = error(penalty)
    if not after < before:
        return Fit(matrix, shift, before, after, np.inf)
    whole = rows[0] + rows[1] if rows else sums.whole
    return Fit(*_solver(whole, matrix, shift, with_shift, free, per_input).solve(penalty), before, after, penalty)


def lowest(ordered: Sequence[float], error: Callable[[float], float]) -> float:
    """From the middle, step by step to where neither neighbour is better: errors fall to one side and rise again."""
    at = len(ordered) // 2
    while True:
        around = range(max(0, at - 1), min(len(ordered), at + 2))
        best = min(around, key=lambda index: error(ordered[index]))
        if error(ordered[best]) >= error(ordered[at]):
            return ordered[at]
        at = best


def _solver(
    part: Sums | KeptRows, matrix: Array, shift: Array, with_shift: bool, free: NDArray[np.bool_], per_input: bool
) -> Solver | RowSolver:
    if isinstance(part, KeptRows):
        return RowSolver(part, matrix, shift, with_shift, free, per_input)
    return Solver(part, matrix, shift, with_shift, free, per_input)


class _Regression(ABC):
    """What is added to W_0 at a penalty, and the shift that goes with it; means (groups, inputs), (groups, outputs)."""

    def __init__(self, matrix: Array, shift: Array, with_shift: bool, mean_x: Array, mean_t: Array) -> None:
        self._matrix, self._shift, self._with_shift = matrix, shift, with_shift
        self._mean_x, self._mean_t = mean_x, mean_t

    @abstractmethod
    def added(self, penalty: float) -> Array:
        """To the weights (groups, inputs, outputs)."""

    def solve(self, penalty: float) -> tuple[Array, Array]:
        """Weights and shift at ``penalty``."""
        matrix = self._matrix + self.added(penalty)
        if not self._with_shift:
            return matrix, self._shift
        return matrix, self._mean_t - np.einsum("gi,gio->go", self._mean_x, matrix)


class Solver(_Regression):
    """Normal equations of one set of rows; ``gram`` (groups, inputs, inputs) is about the means where b is free."""

    def __init__(
        self,
        sums: Sums,
        matrix: Array,
        shift: Array,
        with_shift: bool,
        free: NDArray[np.bool_],
        per_input: bool = False,
    ) -> None:
        super().__init__(matrix, shift, with_shift, sums.x / sums.n, sums.t / sums.n)
        self.gram, self._cross = sums.xx, sums.xt - np.einsum("gi,go->gio", sums.x, shift)
        if with_shift:
            self.gram = sums.xx - np.einsum("gi,gj->gij", sums.x, self._mean_x)
            self._cross = sums.xt - np.einsum("gi,go->gio", sums.x, self._mean_t)
        self._rest = np.where(free[:, None], self._cross - self.gram @ matrix, 0.0)  # nothing to gain: they stay
        own, power = (np.diagonal(products, axis1=1, axis2=2) for products in (self.gram, sums.xx))
        self._ridge = _held(own, power, per_input)

    def damped(self, penalty: float) -> Array:
        """``gram`` with the penalty on its diagonal."""
        found = self.gram.copy()
        np.einsum("gii->gi", found)[:] += penalty * self._ridge
        return found

    def added(self, penalty: float) -> Array:
        return _solved(self.damped(penalty), self._rest)


class RowSolver(_Regression):
    """The same from few rows: ``D^-1 X' (X D^-1 X' + penalty I)^-1 (T - X W_0)`` is added to ``W_0``, D being what the
    penalty of each input is a multiple of.
    """

    def __init__(
        self, rows: KeptRows, matrix: Array, shift: Array, with_shift: bool, free: NDArray[np.bool_], per_input: bool
    ) -> None:
        x, t = rows.x, rows.t
        super().__init__(matrix, shift, with_shift, x.mean(0)[None], t.mean(0)[None])
        power = np.square(x).sum(0)
        if with_shift:
            x -= self._mean_x
        self._rest = np.where(free, t - (self._mean_t if with_shift else shift) - x @ matrix[0], 0.0)
        (ridge,) = _held(np.square(x).sum(0)[None], power[None], per_input)
        self._back = x.T / ridge[:, None]
        self._products = x @ self._back

    def added(self, penalty: float) -> Array:
        damped = self._products + penalty * np.eye(len(self._products))
        return np.asarray(self._back @ _solved(damped[None], self._rest[None]), np.float64)


def _held(own: Array, power: Array, per_input: bool) -> Array:
    """What the penalty of each input is a multiple of; ``own`` and ``power`` (groups, inputs) are the inputs' squares,
    about their means (where b is free) and as they are.
    """
    spread = np.maximum(own.mean(1), _LEAST_VARIANCE * power.mean(1))
    level = np.where(spread > 0, spread, 1.0)[:, None]
    return own + _LEAST_SHARE * level if per_input else np.broadcast_to(level, own.shape)


def _solved(damped: Array, rest: Array) -> Array:
    """One system for each group. A single one by Cholesky, which takes half the time; rounding may have made it
    indefinite.
    """
    if len(damped) == 1:
        _, found, failure = lapack.dposv(damped[0].T, rest[0], lower=1)
        if not failure:
            return np.asarray(found, np.float64)[None]
    return np.asarray(np.linalg.solve(damped, rest), np.float64)
