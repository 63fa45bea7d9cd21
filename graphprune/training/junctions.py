"""What healing has for labels: the values that the unpruned network has where residual blocks join the stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from graphprune.analysis.blocks import find_joins
from graphprune.data.batching import Batch
from graphprune.ir.model import Model
from graphprune.training.goal import TrainingGoal
from graphprune.training.judgement import Judgement
from graphprune.training.next_tokens import IGNORED

_TINY = 1e-12
_SEQUENCE_RANK = 3  # samples, places, features
_MASKED = 1e8  # what is added to scores that are not to count


def shared_junctions(model: Model, teacher: Model) -> tuple[str, ...]:
    """The sums of residual blocks that both networks have under one name, in execution order.

    Whether they have one shape, too, :meth:`WithJunctions.of` finds out.
    """
    theirs = {join.output for join in find_joins(teacher) if join.stage >= 0}
    outputs = {tensor.name for tensor in (*model.graph.outputs, *teacher.graph.outputs)}
    return tuple(join.output for join in find_joins(model) if join.stage >= 0 and join.output in theirs - outputs)


@dataclass(frozen=True)
class WithJunctions:
    """A goal, and behind the outputs ``count`` junctions; the distances of those at ``places`` among them are added up
    with a ``strength``.
    """

    goal: TrainingGoal
    count: int
    places: tuple[int, ...]
    strength: float

    @classmethod
    def of(
        cls, goal: TrainingGoal, given: Sequence[Tensor], wanted: Sequence[Tensor], count: int, strength: float
    ) -> WithJunctions:
        """With those junctions that both networks have in one shape; the lists are what they give for a batch."""
        pairs = zip(given[-count:], wanted[-count:], strict=True)
        alike = [one.shape == other.shape and _is_stream(other) for one, other in pairs]
        return cls(goal, count, tuple(place for place, is_alike in enumerate(alike) if is_alike), strength)

    @property
    def is_text(self) -> bool:
        """As the goal's."""
        return self.goal.is_text

    def __call__(self, given: Sequence[Tensor], wanted: Sequence[Tensor] | None, labels: Tensor | None) -> Tensor:
        """Mean over the batch, float32, shape ()."""
        assert wanted is not None  # healing always has the unpruned network
        return self.goal(given[: -self.count], wanted[: -self.count], labels) + self._inside(given, wanted, labels)

    def check(self, given: Sequence[Tensor], labels: np.ndarray | None) -> None:
        """As the goal's."""
        self.goal.check(given[: -self.count], labels)

    def weight(self, batch: Batch) -> int:
        """As the goal's."""
        return self.goal.weight(batch)

    def judge(
        self, given: Sequence[Tensor], wanted: Sequence[Tensor] | None, labels: Tensor | None, batch: Batch
    ) -> Judgement:
        """What the goal says of the outputs; the loss counts the junctions, too, of which few samples say more."""
        assert wanted is not None  # healing always has the unpruned network
        found = self.goal.judge(given[: -self.count], wanted[: -self.count], labels, batch)
        return replace(found, loss=found.loss + float(self._inside(given, wanted, labels)))

    def _inside(self, given: Sequence[Tensor], wanted: Sequence[Tensor], labels: Tensor | None) -> Tensor:
        is_place = None if labels is None or not self.is_text else labels != IGNORED
        mine, theirs = given[-self.count :], wanted[-self.count :]
        found = [distance(mine[place], theirs[place], is_place) for place in self.places]
        return self.strength * torch.stack(found).sum() if found else given[0].new_zeros((), dtype=torch.float32)


def _is_stream(values: Tensor) -> bool:
    """Whether these are features: no sizes, and no scores with a mask."""
    return values.is_floating_point() and bool(values.abs().max() < _MASKED)


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
