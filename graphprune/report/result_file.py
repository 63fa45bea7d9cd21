"""What the JSON files hold of results and timings, entry by entry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from msgspec import UNSET, UnsetType

from graphprune.analysis.cost import Cost
from graphprune.base.documents import Document
from graphprune.base.graded import Grade
from graphprune.evaluation.accuracy import Evaluation
from graphprune.generation.measure import GenerationMeasurement
from graphprune.measure.runtime import Measurement
from graphprune.measure.timing import Comparison
from graphprune.plan.plan import Figure, Plan
from graphprune.repair.outcome import RepairReport
from graphprune.report.quantised import Quantised
from graphprune.training.report import TrainingReport
from graphprune.validation.validate import Validation


@dataclass(frozen=True)
class MeasurementEntry:
    """A measurement of the result, with the verdict that a reader would work out from it."""

    comparison: Comparison
    batch: int
    environment: Mapping[str, Any]
    device: Comparison | None
    speed_up: float
    is_different: bool

    @classmethod
    def of(cls, measurement: Measurement) -> Self:
        times = measurement.comparison
        return cls(**vars(measurement), speed_up=times.speed_up, is_different=times.is_different)


class ResultFile(Document, frozen=True, tag="graphprune.result/1"):
    """The JSON of a :class:`graphprune.report.result.Result`.

    ``blocks_removed`` are names of blocks, as are ``blocks_linearised``, which have linear maps in their places;
    ``units_removed`` counts the units that went from each group.
    What did not run is null. ``note_grades`` has the grade of each of the ``notes``.
    """

    source: str
    output: str | None
    asked: str
    reached: Figure
    blocks_before: int
    blocks_removed: list[str]
    units_removed: dict[str, int]
    before: Cost
    after: Cost
    validation: Validation | None
    measurement: MeasurementEntry | None
    generation: GenerationMeasurement | None
    evaluation: Evaluation | None
    repair: RepairReport | None
    training: list[TrainingReport]
    unrepaired: Evaluation | None
    notes: list[str]
    seconds: float
    plan: Plan
    quantised: Quantised | UnsetType = UNSET
    note_grades: list[Grade] | UnsetType = UNSET
    blocks_linearised: tuple[str, ...] = ()


class BenchFile(Document, frozen=True, tag="graphprune.bench/2"):
    """The JSON of ``graphprune bench``: two model files, timed on one runtime or several."""

    first: str
    second: str
    measurements: tuple[Measurement, ...]


class GenerationFile(Document, frozen=True, tag="graphprune.generation/1"):
    """The JSON of ``graphprune bench --generate``: two decoders, timed token by token on one runtime or several."""

    first: str
    second: str
    measurements: tuple[GenerationMeasurement, ...]
