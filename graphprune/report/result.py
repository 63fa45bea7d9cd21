"""What a run found and did. The terminal table, the JSON file and the Python API all show this one object."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphprune.analysis.cost import Cost
from graphprune.plan.plan import Plan
from graphprune.report.result_file import MeasurementEntry, ResultFile

if TYPE_CHECKING:
    from graphprune.bench.runtime import Measurement
    from graphprune.evaluation.accuracy import Evaluation
    from graphprune.generation.measure import GenerationMeasurement
    from graphprune.ir.model import Model
    from graphprune.repair.outcome import RepairReport
    from graphprune.training.report import TrainingReport
    from graphprune.validation.validate import Validation


@dataclass(frozen=True)
class Result:
    """Outcome of :func:`graphprune.prune` and :func:`graphprune.apply`.

    ``validation``, ``measurement`` and ``evaluation`` are None where that step did not run, ``generation`` also where
    the model is no decoder with a cache. ``output`` is the written file, None for a dry run. ``unrepaired`` is the
    evaluation before repair and training.
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
    generation: GenerationMeasurement | None = None
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
        return self._document().to_dict()

    def to_json(self) -> str:
        return self._document().to_json()

    def _document(self) -> ResultFile:
        return ResultFile(
            source=self.source,
            output=str(self.output) if self.output else None,
            asked=self.plan.asked,
            reached=self.plan.reached,
            blocks_before=self.blocks_before,
            blocks_removed=[block.name for block in self.plan.blocks],
            units_removed=_units_removed(self.plan),
            before=self.before,
            after=self.after,
            validation=self.validation,
            measurement=MeasurementEntry.of(self.measurement) if self.measurement else None,
            generation=self.generation,
            evaluation=self.evaluation,
            repair=self.repair,
            training=list(self.training),
            unrepaired=self.unrepaired,
            notes=list(self.notes),
            seconds=self.seconds,
            plan=self.plan,
        )


def _units_removed(plan: Plan) -> dict[str, int]:
    """Units gone by group; several passes may cut the same one."""
    counts = Counter[str]()
    for units in plan.units:
        counts[units.group] += len(units.removed)
    return dict(counts)
