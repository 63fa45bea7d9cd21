"""Which indices of the original's tensors are still there after all steps of a removal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from graphprune.axes import algebra
from graphprune.rewrite.removal import Removal


def survivors(steps: Sequence[Removal], tensor: str, axis: int, size: int) -> NDArray[np.intp]:
    """Indices, of the ``size`` that the original has along ``axis`` of ``tensor``, which no step removed; ascending."""
    left = np.arange(size)
    for step in steps:
        axes = step.typing.axes.get(tensor) if step.typing is not None else None
        if axes is not None:
            left = left[algebra.indices_of(axes[axis], step.kept)]
    return left
