"""Which of two children goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from graphprune.data.dataset import Data
from graphprune.pass_infra.joint.arbiter import Arbiter, Similarity, distances, losses
from graphprune.pass_infra.joint.network import Network
from graphprune.runtime.execution import Execution

Select = Literal["arbiter", "random"]


class Verdict(NamedTuple):
    """The place of the child that goes on, and each child's figure as the plan tells it; none where a coin fell."""

    best: int
    scores: list[float]


@dataclass(frozen=True)
class Judge:
    """``epsilon`` is held against the child without units, whichever measure there is, for it saves less time."""

    arbiter: Arbiter = "cka"
    similarity: Similarity = "cka"
    epsilon: float = 0.0
    select: Select = "arbiter"

    @property
    def title(self) -> str:
        """What the figures are, in a plan."""
        if self.select == "random":
            return "random"
        return "loss" if self.arbiter == "loss" else self.similarity

    @property
    def how(self) -> str:
        """For a note: how children were judged."""
        names = {"random": "chosen between by a coin", "cka": "judged by CKA"}
        return names.get(self.title, f"judged by {self.title}")

    def of(
        self,
        parent: Network,
        children: list[tuple[str, Network]],
        data: Data,
        execution: Execution,
        coin: np.random.Generator,
    ) -> Verdict:
        """Of equals the first, the layer, goes on.

        Raises
        ------
        DataError
            The arbiter cannot tell from the data.
        """
        networks = [child for _, child in children]
        if self.select == "random":
            return Verdict(int(coin.integers(len(children))), [])
        if self.arbiter == "loss":
            figures = losses([child.analysis.model for child in networks], data, execution)
        else:
            seen = [(each.analysis.model, each.representations) for each in (parent, *networks)]
            figures = distances(seen[0], seen[1:], data, execution, self.similarity)
        handicaps = [0.0 if kind == "layer" else self.epsilon for kind, _ in children]
        best = int(np.argmin([figure + handicap for figure, handicap in zip(figures, handicaps, strict=True)]))
        return Verdict(best, [1 - each for each in figures] if self.title == "cka" else figures)
