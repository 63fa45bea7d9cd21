"""The loop that times: who runs when, and when it stops."""

from __future__ import annotations

import numpy as np
import pytest

from graphprune.runtime import timing
from graphprune.runtime.timing import Limits, exactly, own_ms, rounds_ms


class Clock:
    """A clock that only work moves."""

    now_ns = 0

    def perf_counter(self) -> float:
        return self.now_ns / 1e9

    def perf_counter_ns(self) -> int:
        return self.now_ns

    def work(self, milliseconds: int) -> None:
        self.now_ns += milliseconds * 1_000_000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    return clock


def test_rounds_run_all_in_turn_and_can_alternate() -> None:
    calls: list[str] = []
    runs = [lambda: calls.append("a"), lambda: calls.append("b"), lambda: calls.append("c")]
    assert rounds_ms(runs, exactly(2)).shape == (2, 3)
    assert "".join(calls) == "abcabc"
    calls.clear()
    rounds_ms(runs, exactly(3), alternate=True)
    assert "".join(calls) == "abccbaabc"


def test_times_belong_to_their_callable(clock: Clock) -> None:
    found = rounds_ms([lambda: clock.work(3), lambda: clock.work(5)], exactly(4), alternate=True)
    np.testing.assert_array_equal(found, [[3, 5]] * 4)


def test_parts_have_times_of_their_own() -> None:
    found = rounds_ms([lambda: [1.0, 2.0, 3.0], lambda: [4.0, 5.0, 6.0]], exactly(2), timed=own_ms)
    assert found.shape == (2, 2, 3)
    assert found[1, 1].tolist() == [4.0, 5.0, 6.0]


@pytest.mark.parametrize(
    ("limits", "rounds"),
    [
        (Limits(7, 100), 7),
        (Limits(2, 100, min_seconds=0.5), 50),
        (Limits(2, 20, min_seconds=0.5), 20),
        (Limits(40, 100, slow_rounds=5, patience_seconds=0.1), 11),
        (Limits(40, 100, slow_rounds=15, patience_seconds=0.1), 15),
    ],
)
def test_it_stops_in_time(clock: Clock, limits: Limits, rounds: int) -> None:
    """A run takes ten milliseconds."""
    assert len(rounds_ms([lambda: clock.work(10)], limits)) == rounds
