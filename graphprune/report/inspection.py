"""What an inspection found: every join or every group with its cost, and the reason where nothing of it can go."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from graphprune.analysis.cost import Cost
from graphprune.base.documents import Document

if TYPE_CHECKING:
    import networkx as nx

MISSING_FIX = "register a rule, see docs/extending/axis_rule.md"


@dataclass(frozen=True)
class JoinRow:
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


class Inspection(Document, frozen=True, tag="graphprune.inspection/1"):
    """Cost of the whole model at one sample, and its joins in execution order; blocks in bodies, which stay, follow."""

    source: str
    cost: Cost
    rows: tuple[JoinRow, ...] = msgspec.field(name="joins")
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class GroupRow:
    """A group of weights that shrink together.

    ``macs`` and ``params`` are all that has an axis of the group: what would leave with its last unit.
    A layer counts for the group that it writes and for the one that it reads,
    so the rows add up to more than the model. ``unit_channels`` is the most channels of one layer that a unit is:
    a head has several, and so has a unit of a width that grouped layers multiply. ``unit_macs`` and ``unit_params``
    leave with the first unit; None where none can go. ``node`` is where the ``reason`` lies, a node or an input or
    output of the model, ``module`` the module it belongs to, where the exporter noted that elsewhere.
    """

    name: str
    kind: str
    size: int
    unit_channels: int
    prunable: bool
    macs: int
    params: int
    unit_macs: int | None
    unit_params: int | None
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    reason: str
    node: str
    module: str


@dataclass(frozen=True)
class MissingRow:
    """A node that no axis rule covers, and what that froze."""

    op: str
    node: str
    effect: str
    fix: str = MISSING_FIX


class GroupsFile(Document, frozen=True, tag="graphprune.groups/1"):
    """What the JSON has of a :class:`GroupInspection`."""

    source: str
    cost: Cost
    groups: tuple[GroupRow, ...]
    missing: tuple[MissingRow, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class GroupInspection:
    """Cost of the whole model at one sample, its groups in execution order,
    and them with ops and weights as a graph.
    """

    source: str
    cost: Cost
    rows: tuple[GroupRow, ...]
    missing: tuple[MissingRow, ...]
    graph: nx.DiGraph = field(repr=False)
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        return GroupsFile(self.source, self.cost, self.rows, self.missing, self.notes).to_json()
