"""What a pass may look at."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from graphprune.analysis.blocks import Join
from graphprune.analysis.cost import Cost
from graphprune.analysis.model_analysis import ModelAnalysis
from graphprune.analysis.sizes import Sizes
from graphprune.base.progress import Progress
from graphprune.bench.alignment import multiple_for
from graphprune.data.dataset import Data
from graphprune.ir.model import Model
from graphprune.plan.multiples import narrowed
from graphprune.plan.target import Target
from graphprune.rewrite.removal import Removal
from graphprune.runtime.sessions import RuntimeOptions
from graphprune.workers import Workers


@dataclass(frozen=True)
class Context:
    """What a pass may look at.

    ``analysis`` is the model with its structure. ``dense`` is the cost before the first pass, ``now`` the present one,
    ``removed_before`` the units that earlier passes took, of the ``considered_before`` that they looked at; ``is_last`` tells
    that no later pass can help to reach the target. Kept widths are to be multiples of ``align``, see :meth:`multiple`; ``cache_dir``
    keeps the times that tell what the runtime likes, ``finest`` lets ``auto`` go below its multiple, by halves down
    to this.
    ``in_rounds`` tells that training follows each removal: a pass then takes one block, or a tenth of its units, and is asked
    again. ``origin`` is the network as given (default: ``model``), ``steps`` led from there to ``model``, whose weights have
    followed if it ``is_repaired``; ``repairs`` are made at the end. ``workers`` may score parts of the candidates; None = this
    process does it. Timings are for ``bench_batch`` samples.
    """

    analysis: ModelAnalysis
    data: Data
    target: Target
    dense: Cost
    now: Cost
    removed_before: int
    considered_before: int
    is_last: bool
    seed: int
    batch: int
    align: int | Literal["auto"]
    options: RuntimeOptions
    progress: Progress
    in_rounds: bool = False
    workers: Workers | None = None
    bench_batch: int = 1
    cache_dir: Path | None = None
    finest: int | None = None
    origin: Model | None = None
    steps: tuple[Removal, ...] = ()
    is_repaired: bool = True
    repairs: tuple[str, ...] = ()

    def multiple(self, size: int) -> int:
        """The multiple in which a width of ``size`` is kept; with ``auto`` what is left for a narrow one of what the runtime likes."""
        return narrowed(self.step, size) if self.align == "auto" else self.align

    @property
    def step(self) -> int:
        """The multiple for wide groups."""
        return multiple_for(self.options, self.cache_dir) if self.align == "auto" else self.align

    def finer(self) -> Context | None:
        """With half of the least count, where multiples are ours to choose and it is not one yet."""
        least = (self.step if self.finest is None else self.finest) // 2 if self.align == "auto" else 0
        return replace(self, finest=least) if least else None

    @property
    def model(self) -> Model:
        return self.analysis.model

    @property
    def sizes(self) -> Sizes:
        return self.analysis.sizes

    @property
    def joins(self) -> list[Join]:
        return self.analysis.joins

    def is_met(self, now: Cost, removed: int, considered: int) -> bool:
        """Whether the target is met when this pass has taken ``removed`` of ``considered`` units."""
        gone, seen = self.removed_before + removed, self.considered_before + considered
        return self.target.is_met(self.dense, now, gone, seen)
