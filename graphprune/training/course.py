"""How long a run is and at which learning rate: what is known before it, or found on the way."""

from __future__ import annotations

from dataclasses import dataclass, replace

from graphprune.training.options import TrainOptions
from graphprune.training.report import EpochReport
from graphprune.training.schedule import lr_at

_MOST_STEPS = 20_000
"""Of a run that ends where the held-out loss does not fall any more."""
_STILL = 0.01  # a share of the best loss; what an epoch gains less is none
_PATIENCE = 3  # epochs without a gain
_FALL = 0.3  # steps at a falling rate, as a share of those before


@dataclass(frozen=True)
class Course:
    """``steps`` in all, ``every`` so many of which an epoch ends; ``lr`` is the largest learning rate.

    ``falls_from`` is the step from which the rate falls, as the schedule says; -1: it does not yet.
    """

    steps: int
    every: int
    lr: float
    warmup: float = 0.0
    falls_from: int = 0

    @property
    def epochs(self) -> int:
        return -(-self.steps // self.every)

    def length(self, epoch: int) -> int:
        """Steps of an epoch, counted from 1."""
        return min(self.every, self.steps - (epoch - 1) * self.every)

    def rate(self, options: TrainOptions, done: int) -> float:
        """The learning rate of the step after ``done`` steps."""
        if not self.falls_from:
            return lr_at(options.schedule, self.lr, done, self.steps, self.warmup)
        if self.falls_from < 0 or done < self.falls_from:
            return self.lr
        return lr_at(options.schedule, self.lr, done - self.falls_from, self.steps - self.falls_from, 0.0)

    @classmethod
    def until_still(cls, every: int, lr: float) -> Course:
        """As long as the held-out loss falls."""
        return cls(_MOST_STEPS, every, lr, falls_from=-1)

    def after(self, rows: list[EpochReport]) -> Course:
        """The course from here on: at an even rate until some epochs in a row gained nothing, then it falls."""
        done = rows[-1].epoch * self.every
        if self.falls_from >= 0 or (_gains(rows) and done < self.steps):
            return self
        return replace(self, steps=done + max(self.every, round(_FALL * done)), falls_from=done)

    def within(self, seconds_left: float, seconds_per_step: float, done: int) -> Course:
        """The course with as many steps as there is time for."""
        return replace(self, steps=done + max(0, int(seconds_left / seconds_per_step)))


def _gains(rows: list[EpochReport]) -> bool:
    """Whether one of the last epochs was better than all before them."""
    earlier, late = rows[:-_PATIENCE], rows[-_PATIENCE:]
    if not earlier:
        return True
    return min(row.held_out_loss for row in late) < (1 - _STILL) * min(row.held_out_loss for row in earlier)
