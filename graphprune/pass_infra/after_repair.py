"""``rescore=repaired``: the best of a pass's own ranking are judged again after their repair, and that decides.

The ranking of the pass is made on the network pruned *and repaired* so far, from the same few samples;
it only has to keep the right block among the first few.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from types import TracebackType
from typing import Literal, Self

import numpy as np
import onnx_graphsurgeon as gs

from graphprune.analysis.blocks import Block
from graphprune.analysis.representation import Representation
from graphprune.analysis.stages import is_cnn
from graphprune.errors import OptionError
from graphprune.importance.distance import StreamedDistance
from graphprune.importance.streaming import StreamedCKA
from graphprune.ir.model import constant_dims
from graphprune.pass_infra.context import Context
from graphprune.plan.plan import Score
from graphprune.repair.trials import RepairedTrials, TrialSetup
from graphprune.segments.runner import Segments

Judge = Literal["error", "cka"]
Rescore = Literal["none", "repaired", "auto"]
RESCORE_HELP = "judge the lowest scores again, after the repair of what is left"

_LEAST_SAMPLES = 32  # of which a half chooses the penalty for the other
_WIDEST = 1024  # values that a convolution reads for one output: the cost of refitting grows with the cube

_JUDGES = {"error": StreamedDistance, "cka": StreamedCKA}
TITLES: dict[Judge, str] = {"error": "repaired error", "cka": "repaired 1-CKA"}


class Rescoring:
    """The network pruned and repaired so far, over ``samples`` samples."""

    def __init__(
        self,
        context: Context,
        representations: Sequence[Representation],
        judge: Judge,
        shortlist: int,
        samples: int,
        refits: int,
    ) -> None:
        self._context, self._judge, self._shortlist = context, judge, shortlist
        data = context.data.at_most(samples)
        self._trials = RepairedTrials(
            TrialSetup(context.history, context.analysis, tuple(representations), data, context.execution, refits)
        )

    def __enter__(self) -> Self:
        self._trials.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._trials.__exit__(kind, error, trace)

    @property
    def context(self) -> Context:
        """With the few samples instead of all; the sessions are new at every step, so this process does it itself."""
        execution = replace(self._context.execution, workers=None)
        return replace(self._context, data=self._trials.data, execution=execution)

    @property
    def representations(self) -> list[Representation]:
        """As they are called in the network so far."""
        return self._trials.representations

    def blocks(self, candidates: Sequence[Block]) -> list[Block]:
        """The candidates as they lie in the network so far."""
        here = self._trials.blocks
        return [replace(here[block.join], name=block.name) for block in candidates]

    def segments(self, candidates: Sequence[Block], origin: Segments) -> Segments:
        """Of the network so far; ``origin`` are those of the network as given."""
        tensors = [representation.tensor for representation in self.representations]
        segments = Segments.at_blocks(self._trials.parent, candidates, tensors, self._context.execution.runtime)
        segments.origin = origin
        return segments

    def judged(self, candidates: Sequence[Block], scores: Sequence[Score]) -> tuple[list[int], list[Score]]:
        """The candidates with the lowest of ``scores``, by index in order of execution,
        and what they score after repair.
        """
        first = sorted(np.argsort([score.score for score in scores], kind="stable")[: self._shortlist].tolist())
        comparisons = self._trials.judge([candidates[index].join for index in first], _JUDGES[self._judge])
        found = []
        for place, index in enumerate(first):
            values, errors = np.array([comparison.result(place) for comparison in comparisons]).T
            mean = float(np.mean(values if self._judge == "error" else 1 - values))
            details = {**scores[index].details, "before repair": scores[index].score}
            error = float(np.sqrt(np.sum(errors**2)) / len(errors))
            found.append(Score(scores[index].unit, mean, error, details))
        return first, found

    def settle(self, candidates: Sequence[Block], scores: Sequence[Score]) -> int:
        """Go on without the candidate that scores lowest; its index."""
        best = int(np.argmin([score.score for score in scores]))
        self._trials.settle(candidates[best].join)
        return best


def wants(rescore: Rescore, context: Context) -> bool:
    """Whether blocks are judged after their repair. ``auto``: where that was measured to be better and costs no more.

    That is in a CNN with layers as narrow as those of CIFAR ResNets, where a ridge repair follows on enough samples.
    """
    if rescore != "auto":
        return rescore == "repaired"
    if "ridge" not in context.history.repairs or context.goal.in_rounds or not is_cnn(context.model, context.joins):
        return False
    if context.data.limit is not None and context.data.limit < _LEAST_SAMPLES:
        return False
    weights = [
        constant_dims(node.inputs[1])
        for node in context.model.graph.nodes
        if node.op == "Conv" and isinstance(node.inputs[1], gs.Constant)
    ]
    return 0 < max((prod(dims[1:]) for dims in weights), default=0) <= _WIDEST  # quantised layers are not repaired


def check(context: Context, spec: str, shortlist: int, samples: int, refits: int) -> None:
    """Refuse what cannot be judged.

    Raises
    ------
    OptionError
        No repair follows, or a number is too small.
    """
    if "ridge" not in context.history.repairs:
        why = "there is no data to repair with" if context.data.kind == "synthetic" else "no repair by ridge follows"
        raise OptionError(
            f"{spec} judges blocks after their repair, and {why}",
            "add --data, and ridge to --repair; or write rescore=none",
        )
    for name, value, least in (("shortlist", shortlist, 1), ("samples", samples, 8), ("refits", refits, 0)):
        if value < least:
            raise OptionError(f"option {name} of {spec} is {value}", f"give {least} or more")
