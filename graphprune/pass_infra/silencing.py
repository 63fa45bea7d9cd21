"""What passes share that compare the network with and without each single unit."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from graphprune.analysis.groups import Group
from graphprune.analysis.representation import Representation
from graphprune.errors import OptionError
from graphprune.pass_infra.context import Context
from graphprune.pass_infra.unit_pass import UnitPass
from graphprune.scoring.blocks import FeatureComparison
from graphprune.scoring.silenced import compared_without, silenceable


@dataclass(frozen=True)
class SilencingPass(UnitPass):
    """Base of passes that score a unit by what the network says with that unit silenced where it is read.

    It costs a run of what follows for every unit and every batch, so a part of the samples is looked at.
    """

    kinds: ClassVar[tuple[str, ...]] = ("filters", "neurons", "conv-groups", "heads", "kv-heads")
    unscored: ClassVar[str] = "what they write is not read by layers alone"

    samples: int = field(default=128, metadata={"help": "samples that every unit is silenced on"})
    representation: str = field(default="", metadata={"help": "tensor to compare; see the pass for the default"})

    @abstractmethod
    def compared_tensor(self, context: Context) -> Representation:
        """What two versions of the network are compared by."""

    @abstractmethod
    def comparison(self) -> FeatureComparison[tuple[float, float]]:
        """A new comparison; the first figure of its results is what a unit is worth."""

    def importance(self, result: float) -> float:
        """Of what the comparison says; low goes first."""
        return result

    def requires(self, context: Context) -> None:
        super().requires(context)
        if self.samples < 1:
            raise OptionError(f"option samples of {self} is {self.samples}", "give 1 or more")

    def scorable(self, context: Context, groups: Sequence[Group]) -> list[Group]:
        return silenceable(context.model, context.analysis.typing, groups)

    def score(self, context: Context, groups: Sequence[Group]) -> tuple[list[NDArray[np.float64]], tuple[str, ...]]:
        results = compared_without(
            context.model,
            context.analysis.typing,
            groups,
            self.compared_tensor(context),
            context.data.at_most(self.samples),
            context.execution.batch,
            context.execution.runtime,
            self.comparison,
            lambda done, of: context.execution.progress(f"{self.name}: without each unit", done, of),
        )
        return [np.array([self.importance(figure) for figure, _ in each]) for each in results], ()
