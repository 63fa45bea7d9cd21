"""The learning rate as a function of the step, so that a resumed run needs no scheduler's state."""

from __future__ import annotations

import math
from typing import Literal

_STEP_AT = (0.5, 0.75)  # epochs 100 and 150 of the papers' 200
_STEP_FACTOR = 0.1


def lr_at(kind: Literal["cosine", "step"], start: float, done: int, total: int) -> float:
    """The rate of the step after ``done`` of ``total`` steps."""
    share = done / total
    if kind == "cosine":
        return start * 0.5 * (1 + math.cos(math.pi * share))
    return start * _STEP_FACTOR ** sum(share >= at for at in _STEP_AT)
