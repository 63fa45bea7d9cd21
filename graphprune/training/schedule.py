"""The learning rate as a function of the step, so that a resumed run needs no scheduler's state."""

from __future__ import annotations

import math
from typing import Literal

_STEP_AT = (0.5, 0.75)  # epochs 100 and 150 of the papers' 200
_STEP_FACTOR = 0.1


def lr_at(kind: Literal["cosine", "step"], start: float, done: int, total: int, warmup: float = 0.0) -> float:
    """The rate of the step after ``done`` of ``total`` steps, in a first share ``warmup`` of which it rises evenly."""
    rising = round(warmup * total)
    if done < rising:
        return start * (done + 1) / rising
    share = (done - rising) / max(1, total - rising)
    if kind == "cosine":
        return start * 0.5 * (1 + math.cos(math.pi * share))
    return start * _STEP_FACTOR ** sum(share >= at for at in _STEP_AT)
