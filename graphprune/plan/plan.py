"""The decision, apart from its execution: which units go, why, and for which model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from msgspec import UNSET, UnsetType

from graphprune.base.documents import text
from graphprune.plan.max_drop import BudgetRecord

SCHEMA: Final = "graphprune.plan/1"

Figure = int | float
"""Whole ones stay so from file to file."""


@dataclass(frozen=True)
class Score:
    """One candidate's score at one step (low = removed first) and its standard error over two halves of the data, or
    over what the score is a sum of where the pass says so.

    ``details`` are the figures that the score was made of, by name, where a pass has several.
    """

    unit: str
    score: Figure
    standard_error: Figure
    details: Mapping[str, Figure] = field(default_factory=dict)


@dataclass(frozen=True)
class RemovedBlock:
    """A residual block to remove, named by its join node and the tensors at both ends.

    Where it ``is_linearised``, a linear map takes its place, fitted to the samples when the plan is carried out;
    ``macs`` and ``params`` are then what is saved, those of the map taken off. ``is_part``: it goes together with the
    entry behind it, as attention and MLP of a layer do, and both count as one; only written where it is so.
    """

    name: str
    join: str
    entry: str
    exit: str
    macs: int
    params: int
    score: Figure
    standard_error: Figure
    scores: tuple[Score, ...] = ()
    is_linearised: bool = False
    is_part: bool | UnsetType = UNSET


@dataclass(frozen=True)
class RemovedUnits:
    """Units of one dependency group to remove: filters, neurons, heads.

    ``group`` names the group as ``inspect --groups`` does, ``size`` is how many units it has;
    ``removed`` are the indices that go, ascending; ``scores`` has one importance per unit (low = removed first).
    ``macs`` and ``params`` are what the group gives up with all other groups as they are.
    """

    group: str
    kind: str
    size: int
    removed: tuple[int, ...]
    macs: int
    params: int
    scores: tuple[Figure, ...] = ()


@dataclass(frozen=True)
class TrajectoryPoint:
    """One step of a pass that weighs two ways to shrink against each other and goes on from the winner.

    ``kind`` is what went (``layer``, ``filters``, ``units``), ``removed`` tells it in short texts: the name of a block,
    or ``group: 3 of 16``. ``macs`` and ``params`` are those of the whole model after the step.
    ``score`` is the winner's figure before the arbiter: with ``cka`` the similarity to the network before the step
    (higher wins), with ``linear``, ``gaussian`` and ``wasserstein`` these distances from it, with ``loss`` the
    cross-entropy, with ``kl`` and ``perplexity`` these (lower wins); None where a coin or a path decides.
    ``rival_kind`` and ``rival_score`` are the child that lost; None where there was none.
    ``latency_ratio`` is the measured time after the step over that of the dense network; None where it was not
    measured.
    """

    kind: str
    removed: tuple[str, ...]
    macs: int
    params: int
    score: Figure | None
    arbiter: str = "cka"
    rival_kind: str | None = None
    rival_score: Figure | None = None
    latency_ratio: Figure | None = None


@dataclass(frozen=True)
class Decision:
    """What one pass decided, in order of removal.

    ``spec`` prints the pass with its options; ``limit`` names the constraint that stopped it,
    empty when the target did. ``considered`` is how many units were candidates; ``notes`` tell what a reader of the
    scores must know. ``score_title`` says in a word or two what the scores of the blocks are.
    ``trajectory`` is how a pass that goes step by step came here, in the steps of this decision.
    """

    spec: str
    blocks: tuple[RemovedBlock, ...] = ()
    representations: tuple[str, ...] = ()
    limit: str = ""
    units: tuple[RemovedUnits, ...] = ()
    considered: int = 0
    notes: tuple[str, ...] = ()
    trajectory: tuple[TrajectoryPoint, ...] = ()
    score_title: str = "1-CKA"

    @property
    def removed_count(self) -> int:
        """Blocks (layers, where these go whole) and units that go."""
        wholes = sum(block.is_part is not True for block in self.blocks)
        return wholes + sum(len(units.removed) for units in self.units)


@dataclass(frozen=True)
class Plan:
    """Everything needed to make the same smaller model again.

    ``model_sha256`` is the hash of the file (and its external data) the plan was made for.
    ``asked`` and ``reached`` are the target and its figure. ``repair`` names the repairs made, in order. ``data`` says
    what the scores were computed from. ``budget`` is what may be lost and what is, where that was asked for.
    """

    model_sha256: str
    decisions: tuple[Decision, ...]
    asked: str
    reached: Figure
    seed: int
    repair: tuple[str, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    tool: str = ""
    schema: Literal["graphprune.plan/1"] = SCHEMA
    budget: BudgetRecord | UnsetType = UNSET

    @property
    def blocks(self) -> tuple[RemovedBlock, ...]:
        return tuple(block for decision in self.decisions for block in decision.blocks)

    @property
    def linearised(self) -> tuple[RemovedBlock, ...]:
        """Those of the blocks that leave a linear map behind."""
        return tuple(block for block in self.blocks if block.is_linearised)

    @property
    def units(self) -> tuple[RemovedUnits, ...]:
        return tuple(units for decision in self.decisions for units in decision.units)

    @property
    def trajectory(self) -> tuple[TrajectoryPoint, ...]:
        return tuple(step for decision in self.decisions for step in decision.trajectory)

    def to_json(self) -> str:
        return text(self)

    def save(self, path: Path) -> None:
        """Write a plan file. InputError where it cannot be written."""
        from graphprune.plan import plan_file  # which imports this module

        plan_file.write(self, path)

    @classmethod
    def load(cls, path: Path) -> Plan:
        """Read a plan file.

        Raises
        ------
        PlanError
            The file is missing, not JSON, of another schema, or incomplete.
        """
        from graphprune.plan import plan_file

        return plan_file.read(path)

    @classmethod
    def from_dict(cls, content: Any, origin: str = "the plan") -> Plan:
        """The plan in the content of a plan file; messages name ``origin``. PlanError as for :meth:`load`."""
        from graphprune.plan import plan_file

        return plan_file.decode(content, origin)
