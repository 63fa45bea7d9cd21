"""The loop that closes in on a time: propose by the table, measure the whole, correct, propose again. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from graphprune.pass_infra.proposals import Proposal

T = TypeVar("T")

TOLERANCE = 0.03
"""How far the reached time may be from the asked one, either way."""
_AIM = 0.015  # close enough to look no further
_TRIES, _PATIENCE = 10, 4
_TIMINGS = 3
"""Of what is settled on. Among several readings with noise the nearest is most often the luckiest: a second look by
other sessions tells."""
_BETWEEN = (0.5, 0.75, 0.25, 0.9, 0.1)


@dataclass(frozen=True)
class Reading(Generic[T]):
    """A proposal and its measured time, in the target's unit: the mean of ``timings``."""

    proposal: Proposal[T]
    value: float
    timings: int = 1


@dataclass(frozen=True)
class Closing(Generic[T]):
    """``best`` is what was settled on; ``is_met`` tells whether it takes no longer than asked, to within the tolerance.

    ``readings`` are all that was measured, in order.
    """

    best: Reading[T]
    asked: float
    is_met: bool
    readings: list[Reading[T]] = field(default_factory=list)

    @property
    def is_close(self) -> bool:
        return abs(self.best.value / self.asked - 1) <= TOLERANCE

    def neighbours(self) -> tuple[float | None, float | None]:
        """The nearest measured times below and above the asked one."""
        below = [reading.value for reading in self.readings if reading.value <= self.asked]
        above = [reading.value for reading in self.readings if reading.value > self.asked]
        return max(below, default=None), min(above, default=None)


def close_in(
    asked: float,
    start: float,
    propose: Callable[[float], Proposal[T]],
    measure: Callable[[Proposal[T]], float],
) -> Closing[T]:
    """Find what takes ``asked``; the present network takes ``start``.

    ``propose`` returns the best thing whose estimate fits a budget (a share of the present time), or,
    where nothing does, the least there is. Each reading corrects the next budget:
    savings scale as the last measurement says, and once the asked time lies between two readings, the budget is
    interpolated between theirs. What is nearest is timed again, until the nearest is one that was.
    """
    readings: dict[Hashable, Reading[T]] = {}
    budget = asked / start
    for _ in range(_TRIES):
        proposal = propose(budget)
        if proposal.key in readings:
            fresh = _between(asked, start, readings, propose)
            if fresh is None:
                break
            proposal = fresh
        readings[proposal.key] = Reading(proposal, measure(proposal))
        off = min(abs(reading.value / asked - 1) for reading in readings.values())
        is_near = off <= _AIM or (off <= TOLERANCE and len(readings) >= _PATIENCE)
        if is_near and _confirmed(asked, readings, measure).is_close:
            break
        budget = _budget(asked, start, list(readings.values()))
    return _confirmed(asked, readings, measure)


def _confirmed(
    asked: float, readings: dict[Hashable, Reading[T]], measure: Callable[[Proposal[T]], float]
) -> Closing[T]:
    """What to settle on, timed as often as that takes; its readings replace those of the first look."""
    while True:
        found = _settled(asked, list(readings.values()))
        best, more = found.best, _TIMINGS - found.best.timings
        if more <= 0:
            return found
        total = best.value * best.timings + sum(measure(best.proposal) for _ in range(more))
        readings[best.proposal.key] = replace(best, value=total / _TIMINGS, timings=_TIMINGS)


def _ends(
    asked: float, start: float, readings: list[Reading[T]]
) -> tuple[tuple[float, float], tuple[float, float] | None]:
    """(estimate, value) of the tightest readings above the asked time (the present network at least) and below it."""
    points = [(reading.proposal.estimate, reading.value) for reading in readings]
    below = max((point for point in points if point[1] <= asked), default=None)
    above = [point for point in [(1.0, start), *points] if point[1] > asked and (below is None or point[0] > below[0])]
    return min(above, default=(1.0, start)), below


def _budget(asked: float, start: float, readings: list[Reading[T]]) -> float:
    above, below = _ends(asked, start, readings)
    if below is not None:
        span = above[1] - below[1]
        return below[0] + (above[0] - below[0]) * (asked - below[1]) / span if span > 0 else below[0]
    saved = start - above[1]
    if saved <= 0:  # nothing has come of it yet
        return above[0] / 2
    return max(0.0, 1 - (1 - above[0]) * min((start - asked) / saved, 3.0))


def _between(
    asked: float, start: float, readings: dict[Hashable, Reading[T]], propose: Callable[[float], Proposal[T]]
) -> Proposal[T] | None:
    """Something not measured yet between the ends; None where the steps are too coarse for it.

    Where the least there is takes too long, something wider may take less: a layout that the runtime likes has got
    lost. One look tells.
    """
    above, below = _ends(asked, start, list(readings.values()))
    low, high = below[0] if below else 0.0, above[0]
    shares: tuple[float, ...] = _BETWEEN
    least = None if below else readings.get(propose(0.0).key)
    if least is not None:  # and even that takes too long
        low, high = least.proposal.estimate, 1.0
        if least.value <= min(reading.value for reading in readings.values()):
            shares = _BETWEEN[:1]
    for share in shares:
        proposal = propose(low + share * (high - low))
        if proposal.key not in readings:
            return proposal
    return None


def _settled(asked: float, readings: list[Reading[T]]) -> Closing[T]:
    close = [reading for reading in readings if abs(reading.value / asked - 1) <= TOLERANCE]
    below = [reading for reading in readings if reading.value <= asked]
    if close:
        return Closing(min(close, key=lambda reading: abs(reading.value - asked)), asked, True, readings)
    if below:
        return Closing(max(below, key=lambda reading: reading.value), asked, True, readings)
    return Closing(min(readings, key=lambda reading: reading.value), asked, False, readings)
