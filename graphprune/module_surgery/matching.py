"""A plan's groups in another export of the same network."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from graphprune.analysis.groups import Group
from graphprune.axes.algebra import Atom
from graphprune.plan.plan import Plan, RemovedUnits


@dataclass
class Matched:
    """What of a plan fits: the masks of the groups, by atom; the groups by their name in the plan;
    why the rest does not.
    """

    kept: dict[Atom, np.ndarray] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    unapplied: list[str] = field(default_factory=list)


def match(plan: Plan, groups: Sequence[Group], wanted: Collection[str] | None = None) -> Matched:
    """Find each group of ``plan`` by its name and size; decisions in turn cut what the ones before have left.

    Where the file was exported from a module around this one, or from a part of it, one name may end with the other.
    ``wanted`` are the names of the plan's groups that are to be cut; None for all.
    """
    found = Matched()
    found.unapplied += [f"block {block.name}: removing it would change the code of the module" for block in plan.blocks]
    for units in plan.units:
        if wanted is not None and units.group not in wanted:
            continue
        group = _group(units, groups)
        if group is None:
            found.unapplied.append(f"{units.group}: the module has no group of this name")
        elif not group.is_prunable:
            found.unapplied.append(f"{units.group}: {group.freeze.reason if group.freeze else 'it is kept'}")
        else:
            _cut(found, units, group)
    return found


def _group(units: RemovedUnits, groups: Sequence[Group]) -> Group | None:
    exact = [group for group in groups if group.name == units.group]
    near = [
        group
        for group in groups
        if group.kind == units.kind
        and (group.name.endswith(f".{units.group}") or units.group.endswith(f".{group.name}"))
    ]
    candidates = exact or near
    return candidates[0] if len(candidates) == 1 else None


def _cut(found: Matched, units: RemovedUnits, group: Group) -> None:
    mask = found.kept.get(group.atom, np.ones(group.size, dtype=bool))
    left = np.flatnonzero(mask)
    if len(left) != units.size:
        found.unapplied.append(f"{units.group}: the plan knows {units.size} units, the module has {len(left)}")
        return
    mask = mask.copy()
    mask[left[list(units.removed)]] = False
    found.kept[group.atom] = mask
    found.groups[units.group] = group
