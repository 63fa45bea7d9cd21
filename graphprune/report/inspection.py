"""What an inspection found: every join with its cost, and the reason where it cannot go."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from graphprune.cost import Cost

SCHEMA = "graphprune.inspection/1"


@dataclass(frozen=True)
class Row:
    """A join; ``rule`` is empty when its block can be removed. ``nodes`` are what would leave (or the join alone)."""

    name: str
    join: str
    stage: int
    nodes: tuple[str, ...]
    context: tuple[str, ...]
    macs: int
    params: int
    rule: str
    reason: str


@dataclass(frozen=True)
class Inspection:
    """Cost of the whole model at one sample, and its joins in execution order."""

    source: str
    cost: Cost
    rows: tuple[Row, ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "source": self.source,
            "cost": asdict(self.cost),
            "joins": [asdict(r) for r in self.rows],
        }
