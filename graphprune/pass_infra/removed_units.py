"""Units that go, in the words of a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from graphprune.analysis.groups import Group
from graphprune.analysis.unit_cost import UnitCost
from graphprune.axes.algebra import Atom
from graphprune.plan.plan import RemovedUnits


def removed_units(
    groups: Sequence[Group],
    scores: Sequence[NDArray[np.float64]],
    removed: Mapping[Atom, NDArray[np.intp]],
    cost: UnitCost,
) -> tuple[RemovedUnits, ...]:
    """The decision in the plan's words; ``cost`` is that of the whole model."""
    result = []
    for group, values in zip(groups, scores, strict=True):
        indices = removed.get(group.atom)
        if indices is None or not len(indices):
            continue
        saving = cost.saving(group.atom, group.size - len(indices))
        result.append(
            RemovedUnits(
                group=group.name,
                kind=group.kind,
                size=group.size,
                removed=tuple(int(index) for index in indices),
                macs=saving.macs,
                params=saving.params,
                scores=tuple(float(value) for value in values),
            )
        )
    return tuple(result)
