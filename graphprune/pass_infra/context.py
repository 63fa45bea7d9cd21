"""What a pass may look at."""

from __future__ import annotations

from dataclasses import dataclass, field

from graphprune.analysis.blocks import Join
from graphprune.analysis.model_analysis import ModelAnalysis
from graphprune.analysis.sizes import Sizes
from graphprune.data.dataset import Data
from graphprune.ir.model import Model
from graphprune.pass_infra.width_policy import WidthPolicy
from graphprune.plan.goal import Goal
from graphprune.repair.history import History
from graphprune.repair.refits import Refits
from graphprune.runtime.execution import Execution


@dataclass(frozen=True)
class Context:
    """What a pass may look at.

    ``analysis`` is the present model with its structure and its cost, ``goal`` how far the pass has to go.
    Scores may come from ``data``, run as ``execution`` says, and from nothing random but ``seed``.
    Timings are for ``bench_batch`` samples. What a pass refits as it decides it may leave in ``refits``.
    """

    analysis: ModelAnalysis
    data: Data
    goal: Goal
    widths: WidthPolicy
    history: History
    execution: Execution
    seed: int
    bench_batch: int = 1
    refits: Refits = field(default_factory=Refits)

    @property
    def model(self) -> Model:
        return self.analysis.model

    @property
    def sizes(self) -> Sizes:
        return self.analysis.sizes

    @property
    def joins(self) -> list[Join]:
        return self.analysis.joins
