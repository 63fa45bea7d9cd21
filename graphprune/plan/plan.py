"""The decision, apart from its execution: which units go, why, and for which model. JSON in and out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from graphprune.errors import InputError, PlanError

SCHEMA = "graphprune.plan/1"


@dataclass(frozen=True)
class Score:
    """One candidate's score at one step (low = removed first) and its standard error over two halves of the data, or
    over what the score is a sum of where the pass says so.

    ``details`` are the figures that the score was made of, by name, where a pass has several.
    """

    unit: str
    score: float
    standard_error: float
    details: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class RemovedBlock:
    """A residual block to remove, named by its join node and the tensors at both ends."""

    name: str
    join: str
    entry: str
    exit: str
    macs: int
    params: int
    score: float
    standard_error: float
    scores: tuple[Score, ...] = ()


@dataclass(frozen=True)
class RemovedUnits:
    """Units of one dependency group to remove: filters, neurons, heads.

    ``group`` names the group as ``inspect --groups`` does, ``size`` is how many units it has; ``removed`` are the indices
    that go, ascending; ``scores`` has one importance per unit (low = removed first). ``macs`` and ``params`` are what the
    group gives up with all other groups as they are.
    """

    group: str
    kind: str
    size: int
    removed: tuple[int, ...]
    macs: int
    params: int
    scores: tuple[float, ...] = ()


@dataclass(frozen=True)
class TrajectoryPoint:
    """One step of a pass that weighs two ways to shrink against each other and goes on from the winner.

    ``kind`` is what went (``layer``, ``filters``, ``units``), ``removed`` tells it in short texts: the name of a block, or
    ``group: 3 of 16``. ``macs`` and ``params`` are those of the whole model after the step. ``score`` is the winner's figure
    before the arbiter: with ``cka`` the similarity to the network before the step (higher wins), with ``loss`` the
    cross-entropy (lower wins). ``rival_kind`` and ``rival_score`` are the child that lost; None where there was none.
    ``latency_ratio`` is the measured time after the step over that of the dense network; None where it was not measured.
    """

    kind: str
    removed: tuple[str, ...]
    macs: int
    params: int
    score: float
    arbiter: str = "cka"
    rival_kind: str | None = None
    rival_score: float | None = None
    latency_ratio: float | None = None


@dataclass(frozen=True)
class Decision:
    """What one pass decided, in order of removal.

    ``spec`` prints the pass with its options; ``limit`` names the constraint that stopped it, empty when the target did.
    ``considered`` is how many units were candidates; ``notes`` tell what a reader of the scores must know. ``score_title``
    says in a word or two what the scores of the blocks are.
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
        """Blocks and units that go."""
        return len(self.blocks) + sum(len(units.removed) for units in self.units)


@dataclass(frozen=True)
class Plan:
    """Everything needed to make the same smaller model again.

    ``model_sha256`` is the hash of the file (and its external data) the plan was made for. ``asked`` and ``reached`` are
    the target and its figure. ``repair`` names the repairs made, in order. ``data`` says what the scores were computed from.
    """

    model_sha256: str
    decisions: tuple[Decision, ...]
    asked: str
    reached: float
    seed: int
    repair: tuple[str, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    tool: str = ""
    schema: str = SCHEMA

    @property
    def blocks(self) -> tuple[RemovedBlock, ...]:
        return tuple(block for decision in self.decisions for block in decision.blocks)

    @property
    def units(self) -> tuple[RemovedUnits, ...]:
        return tuple(units for decision in self.decisions for units in decision.units)

    @property
    def trajectory(self) -> tuple[TrajectoryPoint, ...]:
        return tuple(step for decision in self.decisions for step in decision.trajectory)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"

    def save(self, path: Path) -> None:
        existed = path.exists()
        try:
            path.write_text(self.to_json())
        except OSError as error:
            if path.is_file() and not existed:
                path.unlink()
            raise InputError(f"cannot write the plan {path}: {error.strerror}", "choose another --plan-out") from None

    @classmethod
    def load(cls, path: Path) -> Plan:
        """Read a plan file.

        Raises
        ------
        PlanError
            The file is missing, not JSON, of another schema, or incomplete.
        """
        try:
            content = json.loads(path.read_text())
        except OSError as error:
            raise PlanError(f"cannot read the plan {path}: {error.strerror}", "check the path") from None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise PlanError(f"{path} is not JSON ({error})", "give a file written by --plan-out") from None
        return cls.from_dict(content, str(path))

    @classmethod
    def from_dict(cls, content: Any, origin: str = "the plan") -> Plan:
        schema = content.get("schema") if isinstance(content, dict) else None
        if schema != SCHEMA:
            raise PlanError(f"{origin} has schema {schema!r}, this graphprune reads {SCHEMA!r}", "make the plan again")
        try:
            decisions = tuple(
                Decision(
                    **decision
                    | {
                        "representations": tuple(decision["representations"]),
                        "blocks": tuple(
                            RemovedBlock(**block | {"scores": tuple(_score(score) for score in block["scores"])})
                            for block in decision["blocks"]
                        ),
                        "units": tuple(_units(units, origin) for units in decision.get("units", ())),
                        "notes": tuple(decision.get("notes", ())),
                        "trajectory": tuple(_step(step) for step in decision.get("trajectory", ())),
                    }
                )
                for decision in content["decisions"]
            )
            plan = cls(**content | {"decisions": decisions, "repair": _names(content.get("repair", []))})
            texts = [plan.model_sha256, *(text for b in plan.blocks for text in (b.name, b.join, b.entry, b.exit))]
            texts += plan.repair
            texts += [
                text
                for decision in decisions
                for text in (decision.spec, decision.limit, decision.score_title, *decision.notes)
            ]
            if not all(isinstance(text, str) for text in texts):
                raise TypeError("a name, the hash or a remark is not a text")
        except (TypeError, KeyError) as error:
            raise PlanError(f"{origin} is incomplete or has unknown entries: {error}", "make the plan again") from None
        joins = [block.join for block in plan.blocks]
        for block in plan.blocks:
            if joins.count(block.join) > 1:
                raise PlanError(f"{origin} removes {block.name} twice", "delete one of the entries")
        for decision in plan.decisions:
            groups = [units.group for units in decision.units]
            for name in groups:
                if groups.count(name) > 1:
                    raise PlanError(f"{origin} lists {name} twice in one decision", "join the entries")
        return plan


def _names(content: Any) -> tuple[str, ...]:
    """A list from JSON. TypeError for anything else."""
    if not isinstance(content, list | tuple):
        raise TypeError("a list of texts is none")
    return tuple(content)


def _score(content: Any) -> Score:
    """A score from JSON. TypeError for details that are no numbers by name."""
    score = Score(**content)
    if not isinstance(score.details, dict) or not all(
        type(value) in (int, float) and isfinite(value) for value in score.details.values()
    ):
        raise TypeError(f"the details of the score of {score.unit} are no numbers by name")
    return score


def _step(content: Any) -> TrajectoryPoint:
    """A step from JSON. TypeError for entries of the wrong type."""
    step = TrajectoryPoint(**content | {"removed": _names(content["removed"])})
    texts = [step.kind, step.arbiter, *step.removed, *([] if step.rival_kind is None else [step.rival_kind])]
    figures = [each for each in (step.score, step.rival_score, step.latency_ratio) if each is not None]
    if not all(isinstance(text, str) for text in texts) or not all(
        type(each) is int for each in (step.macs, step.params)
    ):
        raise TypeError(f"a step of the trajectory has an entry of the wrong type: {step}")
    if step.score is None or not all(type(each) in (int, float) and isfinite(each) for each in figures):
        raise TypeError(f"a step of the trajectory has a figure that is no number: {step}")
    return step


def _units(content: Any, origin: str) -> RemovedUnits:
    """Units from JSON; hands may have edited it. TypeError for entries of the wrong type."""
    units = RemovedUnits(**content | {"removed": tuple(content["removed"]), "scores": tuple(content["scores"])})
    texts, numbers = (units.group, units.kind), (units.size, units.macs, units.params)
    if not all(isinstance(text, str) for text in texts) or not all(type(number) is int for number in numbers):
        raise TypeError(f"an entry of {units.group} has the wrong type")
    is_sound = all(type(index) is int and 0 <= index < units.size for index in units.removed)
    if not is_sound or len(set(units.removed)) != len(units.removed):
        raise PlanError(
            f"{origin} removes units {list(units.removed)} of {units.group}, which has {units.size}",
            "list each index once, from 0 to the size",
        )
    if len(units.removed) >= units.size:
        raise PlanError(f"{origin} removes every unit of {units.group}", "leave at least one")
    return units
