"""Interleaved timing tells a slower callable from an equal one."""

from __future__ import annotations

import time

import numpy as np
import pytest

from graphprune.bench import timing
from graphprune.bench.timing import Latency, compare


def busy(milliseconds: float) -> None:
    end = time.perf_counter() + milliseconds / 1000
    while time.perf_counter() < end:
        pass


def test_finds_a_factor_of_two() -> None:
    result = compare(lambda: busy(2.0), lambda: busy(1.0), min_seconds=0.2)
    assert result.is_different
    assert 0.4 < result.ratio_low <= result.ratio <= result.ratio_high < 0.65
    assert result.speed_up == pytest.approx(1 / result.ratio)


def test_equal_work_is_no_difference() -> None:
    generator = np.random.default_rng(0)
    result = compare(
        lambda: busy(generator.uniform(0.5, 1.5)), lambda: busy(generator.uniform(0.5, 1.5)), min_seconds=0.3
    )
    assert result.ratio_low < 1 < result.ratio_high
    assert not result.is_different


def test_order_alternates_and_both_run_equally_often() -> None:
    calls: list[str] = []
    result = compare(lambda: calls.append("a"), lambda: calls.append("b"), min_pairs=30, min_seconds=0.0)
    timed = calls[2 * timing._WARM_UPS :]
    assert result.pairs == 30
    assert timed[:6] == ["a", "b", "b", "a", "a", "b"]
    assert timed.count("a") == timed.count("b") == 30


def test_slow_models_stop_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "_PATIENCE", 0.05)
    result = compare(lambda: busy(5), lambda: busy(5), min_pairs=1000, min_seconds=0.1)
    assert 5 <= result.pairs < 100


def test_percentiles() -> None:
    latency = Latency.of(np.arange(1.0, 102.0))
    assert (latency.median_ms, latency.p10_ms, latency.p90_ms) == (51.0, 11.0, 91.0)


def test_interval_is_repeatable() -> None:
    generator = np.random.default_rng(1)
    a, b = generator.uniform(1, 2, 200), generator.uniform(1, 2, 200)
    assert timing._bootstrap(a, b, 7) == timing._bootstrap(a, b, 7)
    narrow = timing._bootstrap(np.tile(a, 20), np.tile(b, 20), 7)
    wide = timing._bootstrap(a, b, 7)
    assert narrow[1] - narrow[0] < wide[1] - wide[0]
