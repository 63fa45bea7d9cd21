"""Interleaved timing tells a slower callable from an equal one."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

from graphprune.measure import timing
from graphprune.measure.timing import Latency, compare
from graphprune.runtime import timing as loop


class Clock:
    """A clock that only the timed work moves, so that no neighbour on the machine can decide a test."""

    def __init__(self, seed: int = 0) -> None:
        self.now_ns = 0
        self.generator = np.random.default_rng(seed)

    def perf_counter(self) -> float:
        return self.now_ns / 1e9

    def perf_counter_ns(self) -> int:
        return self.now_ns

    def work(self, milliseconds: float) -> None:
        """Take about that long, half to one and a half times."""
        self.now_ns += int(milliseconds * 1e6 * self.generator.uniform(0.5, 1.5))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (timing, loop):
        monkeypatch.setattr(module, "time", clock)
    return clock


def test_finds_a_factor_of_two(clock: Clock) -> None:
    result = compare(lambda: clock.work(2.0), lambda: clock.work(1.0), min_seconds=2.0)
    assert result.is_different
    assert 0.4 < result.ratio_low <= result.ratio <= result.ratio_high < 0.6
    assert result.speed_up == pytest.approx(1 / result.ratio)
    assert result.pairs > 600


def test_finds_a_small_difference_with_enough_runs(clock: Clock) -> None:
    result = compare(lambda: clock.work(1.0), lambda: clock.work(0.95), min_seconds=20.0)
    assert result.is_different
    assert 0.93 < result.ratio < 0.97


def test_equal_work_is_no_difference(clock: Clock) -> None:
    result = compare(lambda: clock.work(1.0), lambda: clock.work(1.0), min_seconds=2.0)
    assert result.ratio_low < 1 < result.ratio_high
    assert not result.is_different


def test_real_clock_is_read_around_the_work() -> None:
    result = compare(lambda: time.sleep(0.004), lambda: time.sleep(0.001), min_seconds=0.2)
    assert result.first.median_ms >= 4
    assert result.second.median_ms >= 1
    assert result.ratio < 1


def test_order_alternates_and_both_run_equally_often() -> None:
    calls: list[str] = []
    result = compare(lambda: calls.append("a"), lambda: calls.append("b"), min_pairs=30, min_seconds=0.0)
    timed = calls[2 * timing._WARM_UPS :]
    assert result.pairs == 30
    assert timed[:6] == ["a", "b", "b", "a", "a", "b"]
    assert timed.count("a") == timed.count("b") == 30


def test_slow_models_stop_short(clock: Clock) -> None:
    """Two seconds a run: 30 pairs would take two minutes, patience ends after thirty seconds."""
    result = compare(lambda: clock.work(2000), lambda: clock.work(2000), min_seconds=2.0)
    assert 5 <= result.pairs < 12


def test_percentiles() -> None:
    latency = Latency.of(np.arange(1.0, 102.0))
    assert (latency.median_ms, latency.p10_ms, latency.p90_ms) == (51.0, 11.0, 91.0)


def test_interval_is_repeatable() -> None:
    generator = np.random.default_rng(1)
    a, b = generator.uniform(1, 2, 200), generator.uniform(1, 2, 200)
    pairs = np.stack([a, b], axis=1)
    assert timing._bootstrap([pairs], 7) == timing._bootstrap([pairs], 7)
    narrow = timing._bootstrap([np.tile(pairs, (20, 1))], 7)
    wide = timing._bootstrap([pairs], 7)
    assert narrow[1] - narrow[0] < wide[1] - wide[0]


def test_undecided_runs_go_on_and_decided_ones_do_not(clock: Clock) -> None:
    equal = compare(lambda: clock.work(1.0), lambda: clock.work(1.0), min_seconds=1.0, undecided_seconds=5.0)
    assert 2000 < equal.pairs < 3000
    close = compare(lambda: clock.work(1.0), lambda: clock.work(0.97), min_seconds=0.1, undecided_seconds=20.0)
    assert close.pairs > 5000
    assert close.ratio_high < 1
    clear = compare(lambda: clock.work(1.0), lambda: clock.work(0.5), min_seconds=1.0, undecided_seconds=5.0)
    assert clear.pairs < 1000


def test_openings_that_differ_widen_the_interval(clock: Clock) -> None:
    """Each opening has luck of its own; one of them alone would be sure of the wrong ratio."""
    luck = iter([0.90, 1.08, 0.95, 1.07] * 2)

    def lucky() -> tuple[Callable[[], object], Callable[[], object]]:
        factor = next(luck)
        return lambda: clock.work(1.0), lambda: clock.work(factor)

    one = timing.compare_opened(lambda: (lambda: clock.work(1.0), lambda: clock.work(0.9)), 1, min_seconds=4.0)
    four = timing.compare_opened(lucky, 4, min_seconds=4.0)
    assert one.ratio_high < 1
    assert four.ratio_low < 1 < four.ratio_high
    assert four.ratio == pytest.approx(1.0, abs=0.04)
    assert one.pairs == pytest.approx(four.pairs, rel=0.15)


def test_what_opens_slowly_is_opened_once(clock: Clock) -> None:
    opened: list[int] = []

    def slow() -> tuple[Callable[[], object], Callable[[], object]]:
        opened.append(1)
        clock.work(3000)
        return lambda: clock.work(1.0), lambda: clock.work(1.0)

    result = timing.compare_opened(slow, 4, min_seconds=1.0)
    assert len(opened) == 1
    assert result.pairs > 400
