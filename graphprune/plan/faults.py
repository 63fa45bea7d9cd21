"""What no decision may hold, whoever made it: the same thing twice, a unit that is not there, or all of a group.

Who finds a fault says it to whom it concerns: the author of a pass, or the owner of a plan file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from graphprune.plan.plan import RemovedBlock, RemovedUnits

UnitFaultKind = Literal["outside", "unit twice", "nothing left", "group twice"]


@dataclass(frozen=True)
class UnitFault:
    """What is wrong with an entry; ``index`` is the unit that is not there, where that is it."""

    kind: UnitFaultKind
    units: RemovedUnits
    index: int = -1


def blocks_removed_twice(blocks: Sequence[RemovedBlock]) -> Iterator[RemovedBlock]:
    """Blocks that end in the join of another."""
    joins = Counter(block.join for block in blocks)
    yield from (block for block in blocks if joins[block.join] > 1)


def unit_faults(decision_units: Sequence[RemovedUnits]) -> Iterator[UnitFault]:
    """What is wrong with the entries of one decision, each by itself first."""
    for units in decision_units:
        if outside := [index for index in units.removed if not 0 <= index < units.size]:
            yield UnitFault("outside", units, outside[0])
        if len(set(units.removed)) < len(units.removed):
            yield UnitFault("unit twice", units)
        if len(units.removed) >= units.size:
            yield UnitFault("nothing left", units)
    groups = Counter(units.group for units in decision_units)
    yield from (UnitFault("group twice", units) for units in decision_units if groups[units.group] > 1)


def of_another_model(made_for: str, given: str) -> str:
    """What is wrong where a plan was made for a file with one hash and is to cut a file with another."""
    return f"the plan was made for another model (sha256 {made_for[:12]}..., this one is {given[:12]}...)"
