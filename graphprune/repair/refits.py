"""What a pass has refitted while it chose, kept for the repair that follows, which then has nothing left to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graphprune.analysis.groups import find_groups
from graphprune.ir.model import Model
from graphprune.repair.outcome import RepairReport
from graphprune.rewrite import remove_units
from graphprune.rewrite.removal import Removal


@dataclass(frozen=True)
class Refitted:
    """``model`` is the network before a cut, refitted to the units that ``kept`` will leave of the groups it names;
    ``after`` so many removals.
    """

    model: Model
    kept: Mapping[str, NDArray[np.bool_]]
    report: RepairReport
    after: int


@dataclass
class Refits:
    """Holds the last thing that was refitted."""

    last: Refitted | None = None

    def of(self, steps: Sequence[Removal]) -> tuple[Model, RepairReport] | None:
        """The refitted network after ``steps``, if the last of them is what was refitted for; it is given once."""
        found, self.last = self.last, None
        if found is None or len(steps) != found.after + 1:
            return None
        step = steps[-1]
        if step.typing is None:
            return None
        names = {group.atom: group.name for group in find_groups(step.model, step.typing)}
        kept = {names.get(atom, ""): mask for atom, mask in step.kept.items()}
        is_same = kept.keys() == found.kept.keys() and all(
            np.array_equal(mask, found.kept[name]) for name, mask in kept.items()
        )
        if not is_same:
            return None
        return remove_units(found.model, step.typing, step.kept), found.report
