"""Pass ``layer-ticket``: remove the residual blocks that an untrained network misses least, before it is trained.

"When Layers Play the Lottery, all Tickets Win at Initialization": Algorithm 2. The weights of a network as it is
initialised get SNIP's or GraSP's figure from labelled samples, in one shot; a block has the sum or the mean over the
weights of its layers (norms and biases, which all start alike, do not count), and the lowest go. See
:mod:`graphprune.scoring.saliency` for the sign of GraSP.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from graphprune.analysis.blocks import Block
from graphprune.analysis.model_analysis import ModelAnalysis
from graphprune.analysis.roles import weight_axes
from graphprune.base.graded import Graded
from graphprune.data.dataset import Data
from graphprune.errors import DataError
from graphprune.ir.model import Model
from graphprune.pass_infra.block_pass import BlockPass
from graphprune.pass_infra.block_scores import BlockScoring
from graphprune.pass_infra.context import Context
from graphprune.plan.plan import Score
from graphprune.repair.stage import Method
from graphprune.rewrite.initialise import seed_of
from graphprune.scoring.saliency import Pool, Saliency, saliencies

TRAINED_NOTE = Graded(
    "the network was not made by graphprune init: tickets are meant for one that is not trained yet", "caution"
)


@dataclass(frozen=True)
class LayerTicket(BlockPass):
    """Residual blocks of a network that is not trained yet, by SNIP or GraSP; needs labels and PyTorch."""

    name: ClassVar[str] = "layer-ticket"
    paper: ClassVar[str] = "When Layers Play the Lottery, all Tickets Win at Initialization"
    score_title: ClassVar[str] = "saliency"
    sees_bodies: ClassVar[bool] = False

    reference: Literal["current", "original"] = field(
        default="original", metadata={"help": "score once, or the network as pruned so far after every removal"}
    )
    criterion: Saliency = field(
        default="snip", metadata={"help": "|weight x gradient|, or weight x (Hessian x gradient); score says the same"}
    )
    pool: Pool = field(default="sum", metadata={"help": "over the weights of a block: their sum or mean"})
    batch: int = field(default=128, metadata={"help": "samples in a batch, by which norms normalise"})

    def memory_bytes(self, rows: int, width: int) -> int:
        return 0

    def tried(self, scoring: BlockScoring, candidates: Sequence[Block]) -> list[Block]:
        """All of them: one pass scores all."""
        return list(candidates)

    @classmethod
    def from_options(cls, options: dict[str, str]) -> Self:
        """Build from ``key=value`` texts; ``score`` is another name of ``criterion``."""
        return super().from_options({"criterion" if key == "score" else key: text for key, text in options.items()})

    def own_repair(self, analysis: ModelAnalysis, data: Data) -> tuple[Method, ...] | None:
        """None: weights that are drawn are not to be fitted to samples."""
        return ()

    def score(self, scoring: BlockScoring, candidates: Sequence[Block]) -> list[Score]:
        """The pooled figure of every candidate."""
        if self.reference == "original" and (known := scoring.told_before(candidates)):
            return known
        figures = weighed(self.name, scoring.context, self.criterion, self.batch)
        if seed_of(scoring.context.model) is None:
            scoring.notes.append(TRAINED_NOTE)
        return [
            Score(block.name, _pooled(scoring.context.model, block, figures, self.pool), 0.0) for block in candidates
        ]


def weighed(name: str, context: Context, criterion: Saliency, batch: int) -> dict[str, NDArray[np.float64]]:
    """The figures of all weights, from all of the data, for the pass ``name``.

    Raises
    ------
    DataError
        As :func:`saliencies`; or a figure is not finite.
    """
    total = context.data.limit or 0
    found = saliencies(
        context.model,
        context.data,
        batch,
        criterion,
        lambda done: context.execution.progress(f"{name}: gradients", done, total),
    )
    for weight, values in found.items():
        if not np.isfinite(values).all():
            raise DataError(f"the gradients of '{weight}' are not finite", "look at the data, or take another seed")
    return found


def _pooled(model: Model, block: Block, figures: dict[str, NDArray[np.float64]], pool: Pool) -> float:
    nodes = {node.name: node for node in model.graph.nodes}
    names = {
        nodes[place.constant[0]].inputs[place.constant[1]].name
        for layer in block.layers
        for place in weight_axes(nodes[layer])
    }
    weights = [figures[name].reshape(-1) for name in sorted(names & figures.keys())]
    if not weights:
        raise DataError(f"no weight of {block.name} gets a gradient", f"leave it out with exclude={block.name}")
    joined = np.concatenate(weights)
    return float(joined.sum() if pool == "sum" else joined.mean())
