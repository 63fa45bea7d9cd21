"""How far two models differ on the same samples, and how sure that is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import comb, sqrt

import numpy as np

_NORMAL_95 = 1.959963984540054
_RESAMPLES = 1_000


@dataclass(frozen=True)
class Estimate:
    """A figure and its standard error over samples."""

    value: float
    standard_error: float


@dataclass(frozen=True)
class Difference:
    """Second minus first on the same samples: value, standard error, 95 % interval.

    ``p_value`` is McNemar's exact one (two-sided) where each sample is right or wrong, else None.
    """

    value: float
    standard_error: float
    low: float
    high: float
    p_value: float | None = None

    @property
    def is_different(self) -> bool:
        """Whether the interval leaves 0 out."""
        return not self.low <= 0 <= self.high


def mean(values: np.ndarray) -> Estimate:
    """Mean of ``values`` (n,) and its standard error."""
    spread = float(values.std(ddof=1)) if len(values) > 1 else float("nan")
    return Estimate(float(values.mean()), spread / sqrt(len(values)))


def difference(first: np.ndarray, second: np.ndarray) -> Difference:
    """Mean of ``second - first`` (n,), sample by sample.

    Right/wrong samples (booleans) get the interval of Agresti and Min (Statistics in Medicine 2005), who add half a
    sample to each cell of the two-by-two table: it covers at small n too, and does not collapse where nothing changed.
    """
    if first.dtype == np.bool_:
        return _of_decisions(first, second)
    gap = mean(second - first)
    return interval(gap.value, gap.standard_error)


def _of_decisions(first: np.ndarray, second: np.ndarray) -> Difference:
    lost, gained, n = int((first & ~second).sum()), int((second & ~first).sum()), len(first)
    value = (gained - lost) / n
    standard_error = sqrt(max(0.0, (gained + lost) / n - value**2) / n)
    more = n + 2
    middle = (gained - lost) / more
    reach = _NORMAL_95 * sqrt(((gained + lost + 1) / more - middle**2) / more)
    return Difference(value, standard_error, middle - reach, middle + reach, mcnemar(lost, gained))


def mcnemar(lost: int, gained: int) -> float:
    """Two-sided exact p-value: chance that fair coins split ``lost + gained`` samples at least as unevenly."""
    flips, fewer = lost + gained, min(lost, gained)
    chance = sum(comb(flips, k) for k in range(fewer + 1)) / 2**flips
    return float(min(1.0, 2 * chance))


def resampled(
    measure: Callable[[np.ndarray], np.ndarray], samples: int, seed: int
) -> tuple[tuple[Estimate, ...], tuple[Difference, ...]]:
    """Each model's figure, and each difference from the first, where figures are no means of samples:
    a paired bootstrap.

    ``measure`` takes row numbers (n,) and gives one figure per model on those rows.
    Intervals are value +- 1.96 standard errors: percentiles would carry the bias of a calibration error twice.
    """
    values = measure(np.arange(samples))
    generator = np.random.default_rng(seed)
    draws = np.array([measure(generator.integers(0, samples, samples)) for _ in range(_RESAMPLES)])
    errors, spreads = draws.std(0, ddof=1), (draws - draws[:, :1]).std(0, ddof=1)
    gaps = values - values[0]
    return (
        tuple(Estimate(float(value), float(error)) for value, error in zip(values, errors, strict=True)),
        tuple(interval(float(gap), float(spread)) for gap, spread in zip(gaps[1:], spreads[1:], strict=True)),
    )


def interval(value: float, standard_error: float) -> Difference:
    """A difference whose error is normal."""
    reach = _NORMAL_95 * standard_error
    return Difference(value, standard_error, value - reach, value + reach)
