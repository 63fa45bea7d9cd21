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
        """The course with the best rate, if that is asked for, and in as many steps as there is time for."""
        started, seconds = time.monotonic(), self.options.seconds
        steps, per_step, judging = _SHARE * self.course.steps, 0.0, 0.0
        if seconds is not None:
            _, per_step = self.attempt(self.course.lr, _TIMED_STEPS)
            judging = max(0.0, time.monotonic() - started - _TIMED_STEPS * per_step)
            steps = _SHARE * seconds / per_step
        course = self.course
        if is_probed:
            count = round(min(max(steps, _STEPS[0]), _STEPS[1]))
            course = replace(course, lr=best_rate(lambda lr: self.attempt(lr, count)[0], course.lr))
        if seconds is None:
            return course
        left = seconds - (time.monotonic() - started) - (ROUNDS + 1) * judging
        total = max(1, int(left / per_step))
        return replace(course, steps=total, every=self.options.judge_every or -(-total // ROUNDS))


def best_rate(attempt: Callable[[float], float], first: float) -> float:
    """The rate, of a ladder around ``first``, after whose ``attempt`` the held-out loss is lowest.

    The ladder is climbed while that pays, and if it never did, descended.
    """
    found = {0: attempt(first)}
    for direction, end in ((1, _HIGHEST), (-1, _LOWEST)):
        place = 0
        while place != end:
            place += direction
            found[place] = attempt(_rung(first, place))
            if not found[place] < found[place - direction]:
                break
        if min(found, key=found.__getitem__) > 0:
            break
    return _rung(first, min(found, key=found.__getitem__))


def _rung(first: float, place: int) -> float:
    return float(f"{first * _FACTOR**place:.1g}")
