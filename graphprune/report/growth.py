"""How a network grew: the document of ``graphprune grow``."""

from __future__ import annotations

from dataclasses import dataclass

from graphprune.base.documents import Document
from graphprune.rewrite.growth import Start
from graphprune.training.report import TrainingEnergy


@dataclass(frozen=True)
class GrownNetwork:
    """A network of the trajectory: blocks of each stage, mean VIP of each stage's last join with its standard error
    (None where nothing was trained), cost, and the share of held-out samples that it gets right.
    """

    depths: tuple[int, ...]
    macs: int
    params: int
    importance: tuple[float, ...] | None = None
    standard_errors: tuple[float, ...] | None = None
    score: float | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class GrowthStep:
    """``tried`` has more blocks in all stages, ``grown`` are those that gained by it, ``network`` has them there."""

    tried: GrownNetwork
    grown: tuple[int, ...]
    network: GrownNetwork


class Growth(Document, frozen=True, tag="graphprune.growth/1"):
    """How a network grew from ``first``; ``difference`` is the largest of the checks, relative to the outputs.

    ``blocks`` is how many a stage gets at a time, ``limit`` why it ended. ``energy`` is that of all trainings of
    this run and of what is done between them; None where it was not measured.
    """

    source: str
    output: str
    start: Start
    blocks: int
    seed: int
    training: str
    first: GrownNetwork
    steps: tuple[GrowthStep, ...]
    limit: str
    difference: float
    energy: TrainingEnergy | None = None
