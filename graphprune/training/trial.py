"""Short trials before a run: which learning rate, and how many steps there is time for."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from graphprune.training.course import Course
from graphprune.training.options import TrainOptions

_FACTOR = 3.0
_HIGHEST, _LOWEST = 2, -3  # rungs of the ladder from where the trials begin
_STEPS = (5, 24)
_BORNE = 0.03
_SHARE = 0.03  # of all steps, or of the time
_TIMED_STEPS = 4
ROUNDS = 5
"""Epochs of a run that is measured in steps or seconds."""


@dataclass(frozen=True)
class Trial:
    """``attempt(lr, steps)`` gives the held-out loss after so many steps at most at this rate (infinite where it left
    the finite numbers), and the seconds that one step took; it leaves no trace.
    """

    attempt: Callable[[float, int], tuple[float, float]]
    course: Course
    options: TrainOptions

    def course_of(self, *, is_probed: bool) -> Course:
        """The course with the rate that trials find, if that is asked for, in as many steps as there is time for."""
        started, seconds = time.monotonic(), self.options.seconds
        steps, per_step, judging = _SHARE * self.course.steps, 0.0, 0.0
        if seconds is not None:
            _, per_step = self.attempt(self.course.lr, _TIMED_STEPS)
            judging = max(0.0, time.monotonic() - started - _TIMED_STEPS * per_step)
            steps = _SHARE * seconds / per_step
        course = self.course
        if is_probed:
            count = round(min(max(steps, _STEPS[0]), _STEPS[1]))
            before, _ = self.attempt(course.lr, 0)
            course = replace(course, lr=bold_rate(lambda lr: self.attempt(lr, count)[0], course.lr, before))
        if seconds is None:
            return course
        left = seconds - (time.monotonic() - started) - (ROUNDS + 1) * judging
        total = max(1, int(left / per_step))
        return replace(course, steps=total, every=self.options.judge_every or -(-total // ROUNDS))


def bold_rate(attempt: Callable[[float], float], first: float, before: float) -> float:
    """The largest rate, of a ladder around ``first``, whose ``attempt`` does not raise the held-out loss by more than
    :data:`_BORNE` of what it was ``before``; the smallest where all do.

    Not the one with the lowest loss: what a few steps like is a tenth of what hundreds at a falling rate do.
    """
    limit = before * (1 + _BORNE)
    place = 0
    if attempt(first) <= limit:
        while place < _HIGHEST and attempt(_rung(first, place + 1)) <= limit:
            place += 1
        return _rung(first, place)
    while place > _LOWEST:
        place -= 1
        if place == _LOWEST or attempt(_rung(first, place)) <= limit:
            break
    return _rung(first, place)


def _rung(first: float, place: int) -> float:
    return float(f"{first * _FACTOR**place:.1g}")
