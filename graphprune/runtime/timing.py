"""The one loop that times: callables run in turn, round after round,
so that drift and neighbours hit all of them alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

Clock = Callable[[Callable[[], Any]], Any]
"""Calls what it is given once, and returns its milliseconds: a number, or one for each of its parts."""


@dataclass(frozen=True)
class Limits:
    """When to stop: after ``min_rounds`` and ``min_seconds``, but at ``max_rounds`` at the latest.

    What is so slow that ``patience_seconds`` go by sooner stops then, if ``slow_rounds`` are done.
    """

    min_rounds: int
    max_rounds: int
    min_seconds: float = 0.0
    slow_rounds: int = 1
    patience_seconds: float = inf


def exactly(rounds: int) -> Limits:
    """So many rounds, however long they take."""
    return Limits(rounds, rounds)


def host_ms(run: Callable[[], Any]) -> float:
    """The clock of the host around one run."""
    begin = time.perf_counter_ns()
    run()
    return (time.perf_counter_ns() - begin) / 1e6


def own_ms(run: Callable[[], Any]) -> Any:
    """The clock of a callable that returns its own milliseconds."""
    return run()


def rounds_ms(
    runs: Sequence[Callable[[], Any]], limits: Limits, *, timed: Clock = host_ms, alternate: bool = False
) -> NDArray[np.float64]:
    """Milliseconds (rounds, runs), or (rounds, runs, parts) where the clock tells them part by part.

    Every round runs each of ``runs`` once, in their order; with ``alternate`` every second round in the opposite order.
    """
    rounds: list[list[Any]] = []
    started = time.perf_counter()
    while len(rounds) < limits.min_rounds or time.perf_counter() - started < limits.min_seconds:
        order = range(len(runs))
        row: list[Any] = [None] * len(runs)
        for index in reversed(order) if alternate and len(rounds) % 2 else order:
            row[index] = timed(runs[index])
        rounds.append(row)
        is_slow = time.perf_counter() - started > limits.patience_seconds
        if len(rounds) >= limits.max_rounds or (is_slow and len(rounds) >= limits.slow_rounds):
            break
    return np.array(rounds, np.float64)
