"""The multiple-choice knapsack: one option of every group, such that the loss is least and the cost fits.

HALP (arXiv 2210.06659) and MDP (arXiv 2504.02168) choose channels so,
with importance as value and measured time as cost. Solved exactly by HiGHS, through SciPy.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

_SECONDS = 20.0  # then the best solution so far
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Option:
    """So many units kept, the importance that goes with the rest, and what the group then costs."""

    kept: int
    loss: float
    cost: float


def solve(groups: Sequence[Sequence[Option]], budget: float, most_removed: int | None = None) -> list[Option] | None:
    """One option of each group with the least total loss at a total cost of at most ``budget``;
    None where nothing fits.

    No more than ``most_removed`` units go, counted from the option of each group that keeps most.
    """
    flat = [option for options in groups for option in options]
    owner = np.repeat(np.arange(len(groups)), [len(options) for options in groups])
    loss, cost = (np.array([getattr(option, name) for option in flat], float) for name in ("loss", "cost"))
    gone = np.array([max(o.kept for o in options) - option.kept for options in groups for option in options], float)
    one_each = csr_array((np.ones(len(flat)), (owner, np.arange(len(flat)))))
    scale = max(1e-12, float(np.abs(cost).max()))
    limits = [
        LinearConstraint(one_each, 1, 1),
        LinearConstraint(cost[None] / scale, -np.inf, budget / scale + _ROUNDING),
    ]
    if most_removed is not None:
        limits.append(LinearConstraint(gone[None], -np.inf, most_removed))
    with _silent():
        found = milp(
            loss / max(1e-12, float(np.abs(loss).max())),
            integrality=np.ones(len(flat)),
            bounds=Bounds(0, 1),
            constraints=limits,
            options={"mip_rel_gap": 0.0, "time_limit": _SECONDS},
        )
    if found.x is None:
        return None
    chosen = np.flatnonzero(found.x > 0.5)
    return [flat[index] for index in chosen]


@contextmanager
def _silent() -> Iterator[None]:
    """HiGHS writes remarks straight to standard output, which is for results."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
