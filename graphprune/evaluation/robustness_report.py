"""What an evaluation found. The terminal table, the JSON file and the Python API all show this one object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from graphprune.base.documents import Document
from graphprune.evaluation.compared import ModelOutputs
from graphprune.evaluation.energy import InferenceEnergy
from graphprune.evaluation.paired import Difference, Estimate

ConditionKind = Literal["clean", "attack", "corruption", "mean", "calibration", "text"]


@dataclass(frozen=True)
class ConditionRow:
    """One condition: a figure of each model, and the difference of each but the first from the first.

    Figures are shares of samples (0 to 1) except for Brier (0 to 2), the likelihood (nats), and on text perplexity and
    divergence (nats). ``level`` is an epsilon, the pixels of a move, a severity, or empty where the figure is the mean
    over severities. ``blind``: samples without a gradient, per model.
    """

    kind: ConditionKind
    name: str
    level: str
    values: tuple[Estimate, ...]
    differences: tuple[Difference, ...]
    blind: tuple[int, ...] = ()

    @property
    def is_share(self) -> bool:
        """Whether the figure is a share of right answers, to be shown in percent;
        the others are better when smaller.
        """
        return self.kind not in ("calibration", "text")


class RobustnessReport(Document, frozen=True, tag="graphprune.robustness/1"):
    """``models`` are the files, the first being the one compared with. ``reference`` says what counts as right.

    ``labels``: the labels of the data. ``decisions``: there are none, so on clean inputs the first model's decision,
    under attack and corruption each model's own clean decision. ``outputs``: these are no class scores, or a ``metric``
    was given; ``outputs`` then compares them, one entry for each model, and there are no rows. ``text``: samples are
    chunks of it, and figures are means over their next tokens.
    """

    models: tuple[str, ...]
    source: str
    samples: int
    reference: Literal["labels", "decisions", "outputs", "text"]
    rows: tuple[ConditionRow, ...]
    settings: dict[str, Any]
    energy: tuple[InferenceEnergy, ...] = ()
    notes: tuple[str, ...] = ()
    outputs: tuple[ModelOutputs, ...] = ()
    metric: str = ""

    def select(self, kind: ConditionKind) -> tuple[ConditionRow, ...]:
        """Rows of one kind."""
        return tuple(row for row in self.rows if row.kind == kind)
