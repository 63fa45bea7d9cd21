"""Time two callables against each other so that drift, turbo and neighbours hit both alike: A B A B, in one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from graphprune.runtime.timing import Clock, Limits, exactly, host_ms, rounds_ms

_WARM_UPS = 5
_MAX_PAIRS = 20_000
_MIN_PAIRS_SLOW = 5
_PATIENCE = 15
_RESAMPLES = 2_000
_BINS = 40
_ENDS_PERCENT = (0.5, 99.0)
_SLOW_OPENING_SECONDS = 1.0


@dataclass(frozen=True)
class Latency:
    """Milliseconds per run."""

    median_ms: float
    p10_ms: float
    p90_ms: float

    @classmethod
    def of(cls, samples_ms: np.ndarray) -> Latency:
        p10, median, p90 = np.percentile(samples_ms, [10, 50, 90])
        return cls(float(median), float(p10), float(p90))


@dataclass(frozen=True)
class Histogram:
    """How often both models took how long: counts in the bins between ``edges_ms``,
    which are equally wide on a log scale.

    The outermost bins also hold what lies beyond them: the slowest hundredth is other programs' doing.
    """

    edges_ms: tuple[float, ...]
    first: tuple[int, ...]
    second: tuple[int, ...]

    @classmethod
    def of(cls, first_ms: np.ndarray, second_ms: np.ndarray) -> Histogram:
        low, high = np.percentile(np.concatenate([first_ms, second_ms]), _ENDS_PERCENT)
        edges = np.geomspace(low, max(high, low * 1.001), _BINS + 1)
        counts = [np.histogram(np.clip(each, edges[0], edges[-1]), edges)[0] for each in (first_ms, second_ms)]
        return cls(tuple(float(f"{edge:.5g}") for edge in edges), *(tuple(map(int, each)) for each in counts))


@dataclass(frozen=True)
class Comparison:
    """``ratio`` = median time of the second over median time of the first, with a 95 % bootstrap interval."""

    first: Latency
    second: Latency
    ratio: float
    ratio_low: float
    ratio_high: float
    pairs: int
    histogram: Histogram | None = None

    @property
    def is_different(self) -> bool:
        """Whether the interval of the ratio leaves 1 out."""
        return not self.ratio_low <= 1 <= self.ratio_high

    @property
    def speed_up(self) -> float:
        return 1 / self.ratio


def compare(
    first: Callable[[], object],
    second: Callable[[], object],
    *,
    min_pairs: int = 30,
    min_seconds: float = 2.0,
    undecided_seconds: float = 0.0,
    seed: int = 0,
    timed: Clock = host_ms,
) -> Comparison:
    """Run the two in turn, the order of each pair alternating, for at least ``min_pairs`` pairs and ``min_seconds``.

    Slow models stop short of ``min_pairs`` after fifteen times ``min_seconds``, but not before five pairs.
    Where the interval then covers 1, there is a second look of ``undecided_seconds``, and that one counts.
    ``timed`` is the host's clock unless another is given.
    """
    return compare_opened(
        lambda: (first, second),
        1,
        min_pairs=min_pairs,
        min_seconds=min_seconds,
        undecided_seconds=undecided_seconds,
        seed=seed,
        timed=timed,
    )


def compare_opened(
    open_pair: Callable[[], tuple[Callable[[], object], Callable[[], object]]],
    openings: int,
    *,
    min_pairs: int = 30,
    min_seconds: float = 2.0,
    undecided_seconds: float = 0.0,
    seed: int = 0,
    timed: Clock = host_ms,
) -> Comparison:
    """As :func:`compare`, the runs shared out over several openings of the two.

    Where a runtime puts buffers and weights differs from opening to opening, and moves the ratio by a few per cent:
    more runs of one opening make the interval narrower, not truer.
    What takes longer to open than to time is opened once.
    """
    result = comparison(_openings(open_pair, openings, timed, min_pairs, min_seconds), seed)
    if not result.is_different and undecided_seconds > min_seconds:
        result = comparison(_openings(open_pair, openings, timed, min_pairs, undecided_seconds), seed)
    return result


def _openings(
    open_pair: Callable[[], tuple[Callable[[], object], Callable[[], object]]],
    openings: int,
    timed: Clock,
    min_pairs: int,
    min_seconds: float,
) -> list[NDArray[np.float64]]:
    """Milliseconds (pairs, 2) of each opening."""
    parts: list[NDArray[np.float64]] = []
    while len(parts) < openings:
        begun = time.perf_counter()
        runs = open_pair()
        rounds_ms(runs, exactly(_WARM_UPS))
        if time.perf_counter() - begun > _SLOW_OPENING_SECONDS:
            openings = len(parts) + 1
        seconds = min_seconds / openings
        limits = Limits(
            min_rounds=ceil(min_pairs / openings),
            max_rounds=_MAX_PAIRS,
            min_seconds=seconds,
            slow_rounds=_MIN_PAIRS_SLOW,
            patience_seconds=_PATIENCE * max(seconds, 1.0),
        )
        parts.append(rounds_ms(runs, limits, timed=timed, alternate=True))
    return parts


def comparison(parts: Sequence[NDArray[np.float64]], seed: int) -> Comparison:
    """Milliseconds (pairs, 2) of each opening of the two, as a comparison."""
    a, b = np.concatenate(parts).T
    low, high = _bootstrap(parts, seed)
    ratio = float(np.median(b) / np.median(a))
    return Comparison(Latency.of(a), Latency.of(b), ratio, low, high, len(a), Histogram.of(a, b))


def _bootstrap(parts: Sequence[NDArray[np.float64]], seed: int) -> tuple[float, float]:
    """95 % percentile interval of the ratio of medians.

    Openings are resampled, then pairs within each; pairs stay together, for they share the disturbances.
    """
    generator = np.random.default_rng(seed)
    length = min(map(len, parts))  # openings weigh alike
    stacked = np.array([part[:length].T for part in parts])  # (openings, 2, pairs)
    ratios = []
    for _ in range(_RESAMPLES // 100):  # in slices: 20,000 pairs times 2,000 resamples would be 320 MB
        drawn = generator.integers(0, len(parts), (100, len(parts), 1))
        rows = generator.integers(0, length, (100, len(parts), length))
        a, b = (stacked[drawn, side, rows].reshape(100, -1) for side in (0, 1))
        ratios.append(np.median(b, axis=1) / np.median(a, axis=1))
    low, high = np.percentile(np.concatenate(ratios), [2.5, 97.5])
    return float(low), float(high)
