"""What a run found and did. The terminal table, the JSON file and the Python API all show this one object."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphprune.analysis.cost import Cost
from graphprune.plan.plan import Plan

if TYPE_CHECKING:
    from graphprune.bench.runtime import Measurement
    from graphprune.evaluation.accuracy import Evaluation
    from graphprune.ir.model import Model
    from graphprune.repair.outcome import RepairReport
    from graphprune.training.report import TrainingReport
    from graphprune.validation.validate import Validation

SCHEMA = "graphprune.result/1"


@dataclass(frozen=True)
class Result:
    """Outcome of :func:`graphprune.prune` and :func:`graphprune.apply`.

    ``validation``, ``measurement`` and ``evaluation`` are None where that step did not run. ``output`` is the written
    file, None for a dry run. ``unrepaired`` is the evaluation before repair and training.
    ``training`` has one report for each round of it. ``model`` is the smaller model itself.
    """

    source: str
    output: Path | None
    plan: Plan
    before: Cost
    after: Cost
    blocks_before: int
    validation: Validation | None = None
    measurement: Measurement | None = None
    evaluation: Evaluation | None = None
    repair: RepairReport | None = None
    training: tuple[TrainingReport, ...] = ()
    unrepaired: Evaluation | None = None
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    model: Model | None = field(default=None, repr=False)

    def module(self) -> Any:
        """The smaller model as a trainable ``torch.fx.GraphModule``; see :func:`graphprune.torch_bridge.to_torch`."""
        from graphprune.torch_bridge import to_torch

        assert self.model is not None  # every run leaves one
        return to_torch(self.model)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary with a versioned ``schema``."""
        measurement = asdict(self.measurement) if self.measurement else None
        if measurement is not None and self.measurement is not None:
            measurement["speed_up"] = self.measurement.comparison.speed_up
            measurement["is_different"] = self.measurement.comparison.is_different
        return {
            "schema": SCHEMA,
            "source": self.source,
            "output": str(self.output) if self.output else None,
            "asked": self.plan.asked,
            "reached": self.plan.reached,
            "blocks_before": self.blocks_before,
            "blocks_removed": [block.name for block in self.plan.blocks],
            "units_removed": dict(_units_removed(self.plan)),
            "before": asdict(self.before),
            "after": asdict(self.after),
            "validation": asdict(self.validation) if self.validation else None,
            "measurement": measurement,
            "evaluation": asdict(self.evaluation) if self.evaluation else None,
            "repair": asdict(self.repair) if self.repair else None,
            "training": [report.to_dict() for report in self.training],
            "unrepaired": asdict(self.unrepaired) if self.unrepaired else None,
            "notes": list(self.notes),
            "seconds": self.seconds,
            "plan": asdict(self.plan),
        }

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2) + "\n"


def _units_removed(plan: Plan) -> Counter[str]:
    """Units gone by group; several passes may cut the same one."""
    counts = Counter[str]()
    for units in plan.units:
        counts[units.group] += len(units.removed)
    return counts
