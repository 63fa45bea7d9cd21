"""``shape=uniform``: one number of neurons and of heads in all layers, as ``config.json`` has one number each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

from graphprune.analysis.groups import Group

Shape = Literal["free", "uniform"]
SHAPE_HELP = "uniform: all layers alike, as apply-hf and transformers need them"
UNIFORM = "equally many neurons and heads in all layers (shape=uniform)"

_ALIKE = ("neurons", "heads", "kv-heads")


def equal_layers(groups: Sequence[Group]) -> list[list[int]]:
    """Places in ``groups`` of those that must lose equally many units."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, group in enumerate(groups):
        if group.kind in _ALIKE:
            places[group.kind].append(place)
    return list(places.values())


def kept_for_other_layers(every: Sequence[Group], offered: Sequence[Group]) -> dict[str, str]:
    """Those ``offered``, by name, that must stay whole because another of ``every`` group does; and why."""
    names = {group.name for group in offered}
    reasons: dict[str, str] = {}
    for kind in _ALIKE:
        groups = [group for group in every if group.kind == kind and group.is_prunable]
        staying = [group.name for group in groups if group.name not in names]
        if not staying and len({group.size for group in groups}) > 1:
            staying = ["a layer of another size"]
        if staying:
            why = f"{staying[0]} stays whole, and there are {UNIFORM}"
            reasons |= {group.name: why for group in groups if group.name in names}
    return reasons
