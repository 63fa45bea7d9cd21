"""What healing has for labels: the values that the unpruned network has where residual blocks join the stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from graphprune.analysis.blocks import find_joins
from graphprune.data.batching import Batch
from graphprune.ir.model import Model
from graphprune.training.goal import Goal
from graphprune.training.judgement import Judgement
from graphprune.training.next_tokens import IGNORED

_TINY = 1e-12
_SEQUENCE_RANK = 3  # samples, places, features


def shared_junctions(model: Model, teacher: Model) -> tuple[str, ...]:
    """The sums of residual blocks that both networks have under one name and in one shape, in execution order."""
    theirs = {join.output for join in find_joins(teacher)}
    outputs = {tensor.name for tensor in model.graph.outputs} | {tensor.name for tensor in teacher.graph.outputs}
    return tuple(
        join.output
        for join in find_joins(model)
        if join.output in theirs - outputs
        and model.shapes.get(join.output) is not None
        and model.shapes[join.output] == teacher.shapes.get(join.output)
    )


@dataclass(frozen=True)
class WithJunctions:
    """A goal, and behind the outputs ``count`` junctions whose distances are added up with a ``strength``.

    Held-out samples are judged by the goal alone.
    """

    goal: Goal
    count: int
    strength: float

    @property
    def is_text(self) -> bool:
        """As the goal's."""
        return self.goal.is_text

    def __call__(self, given: Sequence[Tensor], wanted: Sequence[Tensor] | None, labels: Tensor | None) -> Tensor:
        """Mean over the batch, float32, shape ()."""
        assert wanted is not None  # healing always has the unpruned network
        loss = self.goal(given[: -self.count], wanted[: -self.count], labels)
        is_place = None if labels is None or not self.is_text else labels != IGNORED
        pairs = zip(given[-self.count :], wanted[-self.count :], strict=True)
        return loss + self.strength * torch.stack([distance(one, other, is_place) for one, other in pairs]).sum()

    def check(self, given: Sequence[Tensor], labels: np.ndarray | None) -> None:
        """As the goal's."""
        self.goal.check(given[: -self.count], labels)

    def weight(self, batch: Batch) -> int:
        """As the goal's."""
        return self.goal.weight(batch)

    def judge(
        self, given: Sequence[Tensor], wanted: Sequence[Tensor] | None, labels: Tensor | None, batch: Batch
    ) -> Judgement:
        """What the goal says of the outputs."""
        assert wanted is not None  # healing always has the unpruned network
        return self.goal.judge(given[: -self.count], wanted[: -self.count], labels, batch)


def distance(given: Tensor, wanted: Tensor, is_place: Tensor | None = None) -> Tensor:
    """|given - wanted|^2 / |wanted|^2, float32, shape (); of sequences (n, places, features) the mean over the places
    in ``is_place`` (n, places), for a few tokens of a language model are larger than all others together.
    """
    error, size = (given.float() - wanted.float()).square(), wanted.float().square()
    if given.ndim != _SEQUENCE_RANK:
        return error.sum() / size.sum().clamp_min(_TINY)
    shares = error.sum(-1) / size.sum(-1).clamp_min(_TINY)
    if is_place is None or is_place.shape != shares.shape:
        return shares.mean()
    return (shares * is_place).sum() / is_place.sum().clamp_min(1)
