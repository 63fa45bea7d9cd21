"""What a run found and did. The terminal table, the JSON file and the Python API all show this one object."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from graphprune.analysis.cost import Cost
from graphprune.base.graded import grade_of
from graphprune.plan.plan import Plan
from graphprune.report import summary
from graphprune.report.result_file import MeasurementEntry, ResultFile

if TYPE_CHECKING:
    import onnx

    from graphprune.evaluation.accuracy import Evaluation
    from graphprune.generation.measure import GenerationMeasurement
    from graphprune.ir.model import Model
    from graphprune.measure.runtime import Measurement
    from graphprune.repair.outcome import RepairReport
    from graphprune.report.quantised import Quantised
    from graphprune.training.report import TrainingReport
    from graphprune.validation.validate import Validation


@dataclass(frozen=True, repr=False)
class Result:
    """Outcome of :func:`graphprune.prune` and :func:`graphprune.apply`.

    ``validation``, ``measurement`` and ``evaluation`` are None where that step did not run, ``generation`` also where
    the model is no decoder with a cache. ``output`` is the written file, None for a dry run. ``unrepaired`` is the
    evaluation before repair and training.
    ``training`` has one report for the healing, and one for each round of training. ``model`` is the smaller one,
    ``quantised`` what became of it in int8. ``notes`` are sentences; each is a
    :class:`graphprune.base.graded.Graded` and has a ``grade``: fact, caution or alarm.
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
    model: Model | None = None
    quantised: Quantised | None = None

    @property
    def recovery(self) -> str:
        """What was done after the removal, in words; empty if nothing."""
        goals = [report.goal for report in self.training]
        done = (("repair", self.repair), ("healing", "healing" in goals), ("training", "training" in goals))
        *first, last = [word for word, is_done in done if is_done] or [""]
        return f"{', '.join(first)} and {last}" if first else last

    def __repr__(self) -> str:
        """One line: what went, the measured ratio, the accuracy."""
        return summary.line(self)

    def _repr_html_(self) -> str:
        """For a notebook: the line, and everything else folded away."""
        return summary.html(self)

    def summary(self) -> str:
        """The tables that the command prints, as text of 80 columns."""
        return summary.table(self)

    def to_onnx(self, path: str | os.PathLike[str] | None = None) -> onnx.ModelProto:
        """The smaller model; written to ``path`` as well, if there is one, with external data beside it where needed.

        Raises
        ------
        InputError
            The file exists as the model's source, or cannot be written.
        """
        from graphprune.ir import export
        from graphprune.ir.output_files import check_output

        assert self.model is not None  # every run leaves one
        if path is not None:
            check_output(Path(path), [Path(self.source)])
            export.write(self.model, Path(path))
        return export.to_proto(self.model)

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
            blocks_removed=[block.name for block in self.plan.blocks if not block.is_linearised],
            blocks_linearised=tuple(block.name for block in self.plan.linearised),
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
            notes=list(map(str, self.notes)),
            note_grades=[grade_of(note) for note in self.notes],
            seconds=self.seconds,
            plan=self.plan,
            quantised=UNSET if self.quantised is None else self.quantised,
        )


def _units_removed(plan: Plan) -> dict[str, int]:
    """Units gone by group; several passes may cut the same one."""
    counts = Counter[str]()
    for units in plan.units:
        counts[units.group] += len(units.removed)
    return dict(counts)
