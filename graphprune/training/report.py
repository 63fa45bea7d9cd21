"""What a training run did, epoch by epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from graphprune.base.documents import Document

MetricKind = Literal["top1", "agreement", "loss", "perplexity"]
"""What the epochs are judged by."""


@dataclass(frozen=True)
class EpochReport:
    """One epoch; epoch 0 is the network as it came in, with no training loss and no learning rate.

    ``score`` is the share of held-out samples whose largest output is the label (``top1``) or the unpruned network's
    largest output (``agreement``); None where outputs are no class scores. ``perplexity`` is of the next tokens of
    held-out text. ``lr`` is that of the last step.
    """

    epoch: int
    lr: float | None
    train_loss: float | None
    held_out_loss: float
    score: float | None
    seconds: float
    perplexity: float | None = None

    def is_better_than(self, other: EpochReport, *, by: Literal["auto", "loss"] = "auto") -> bool:
        """Higher score; the lower loss where the scores are equal or there are none, or ``by`` says so."""
        if by == "auto" and self.score is not None and other.score is not None and self.score != other.score:
            return self.score > other.score
        return self.held_out_loss < other.held_out_loss


@dataclass(frozen=True)
class TrainingEnergy:
    """What this run took, measured, and by the formula of the ML Impact Calculator (Lacoste et al. 2019).

    ``joules`` and ``co2_grams`` are codecarbon's, by ``source``, for the whole machine over ``seconds``. The formula is
    rated power x time x CO2 of the grid: ``watts`` x ``seconds`` x ``grid_grams_per_kwh``. Costs are energy times
    ``price_per_kwh``, in its currency; None without a price.
    """

    seconds: float
    joules: float
    co2_grams: float
    source: str
    country: str
    grid_grams_per_kwh: float
    watts: float
    formula_joules: float
    formula_co2_grams: float
    price_per_kwh: float | None = None
    cost: float | None = None
    formula_cost: float | None = None


class TrainingReport(Document, frozen=True, tag="graphprune.training/1"):
    """Outcome of :func:`graphprune.training.finetune`.

    ``epochs`` begins with epoch 0, the network as it came in; ``kept`` is the epoch whose weights were written.
    ``goal`` is healing where the unpruned network's joins were learnt without labels.
    ``resumed_at`` is the epoch that a checkpoint was taken up in, None for a run in one go.
    ``seconds`` counts all runs, ``energy`` only the last.
    """

    kind: MetricKind
    epochs: tuple[EpochReport, ...]
    kept: int
    train_samples: int
    held_out_samples: int
    device: str
    autocast: str
    options: str
    resumed_at: int | None = None
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    energy: TrainingEnergy | None = None
    goal: Literal["training", "healing"] = "training"

    @property
    def before(self) -> EpochReport:
        return self.epochs[0]

    @property
    def after(self) -> EpochReport:
        return self.epochs[self.kept]


class TrainingFile(TrainingReport, frozen=True, kw_only=True, tag="graphprune.training/1"):
    """The report with the files that the command read and wrote."""

    source: str
    teacher: str | None
    output: str
