"""Activation projection of heads and neurons (AMP): what they send into the layer that reads them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from graphprune.analysis.groups import Group
from graphprune.axes import algebra
from graphprune.axes.algebra import Atom
from graphprune.axes.typing import Typing
from graphprune.data.dataset import Data
from graphprune.errors import DataError
from graphprune.importance.projection import StreamedHeadProjection, StreamedNeuronProjection
from graphprune.ir.model import Model
from graphprune.runtime.sessions import RuntimeOptions
from graphprune.scoring.consumers import Consumer, consumers, mean_per_unit
from graphprune.scoring.tokens import token_mask
from graphprune.segments.capture import capture

HEAD_KINDS = ("heads", "kv-heads", "query-heads")


class _Scorer:
    """Accumulates the score of one group at one layer that reads it."""

    def __init__(self, model: Model, group: Group, consumer: Consumer, heads: set[Atom]) -> None:
        self.consumer = consumer
        self._group = group
        self._positions = algebra.positions_of(consumer.axis, group.atom)
        self._entries: NDArray[np.intp] | None = None
        self._sums: StreamedHeadProjection | StreamedNeuronProjection
        if group.kind in HEAD_KINDS:
            self._entries = _entries_by_head(consumer, heads | {group.atom}, np.flatnonzero(self._positions >= 0))
            self._sums = StreamedHeadProjection(consumer.weights(model)[self._entries])
        else:
            self._sums = StreamedNeuronProjection(len(self._positions))

    def update(self, values: np.ndarray, mask: np.ndarray | None) -> None:
        features = self.consumer.features(values)
        if mask is not None and features.ndim == 2 and len(features) == mask.size:  # the tokens of all prompts in a row
            features = features.reshape(*mask.shape, -1)
        valid = mask if mask is not None and features.ndim == 3 and features.shape[:2] == mask.shape else None
        if self._entries is not None and isinstance(self._sums, StreamedHeadProjection):
            rows = features.reshape(len(features), -1, features.shape[-1])
            self._sums.update(rows[..., self._entries], valid)
        elif isinstance(self._sums, StreamedNeuronProjection):
            self._sums.update(features, valid)

    def scores(self) -> NDArray[np.float64]:
        """(size,): a unit made of several query heads, or of several entries, gets their mean."""
        positions = self._positions if self._entries is None else self._positions[self._entries[:, 0]]
        return mean_per_unit(self._sums.scores(), positions, self._group.size)


def _entries_by_head(consumer: Consumer, heads: set[Atom], own: NDArray[np.intp]) -> NDArray[np.intp]:
    """(heads, depth): which of the group's ``own`` entries of the summed axis belong to each single head."""
    digits = [
        algebra.positions_of(consumer.axis, atom)[own] for atom in heads if atom in set(algebra.atoms_of(consumer.axis))
    ]
    _, labels = np.unique(np.stack(digits), axis=1, return_inverse=True)
    labels = labels.reshape(-1)
    order = np.argsort(labels, kind="stable")
    return own[order].reshape(int(labels.max()) + 1, -1)


def projection_scores(
    model: Model,
    typing: Typing,
    groups: Sequence[Group],
    all_groups: Sequence[Group],
    data: Data,
    batch: int,
    options: RuntimeOptions,
    progress: Callable[[int], None],
) -> list[NDArray[np.float64]]:
    """Scores (size,) of every group, in the unit of the activations (heads: times weights); low goes first.

    Heads: ``I_h``, the mean L1 norm of what the head adds to the stream;
    a key-value group gets the mean of its query heads. Neurons: ``I_m``, the mean absolute input of the layer that
    reads them. An input named ``attention_mask`` tells which tokens count. One pass over the data serves all groups.

    Raises
    ------
    DataError
        A group is read by no layer with constant weights, or the activations are not finite.
    """
    heads = {group.atom for group in all_groups if group.kind in HEAD_KINDS}
    scorers: list[list[_Scorer]] = []
    for group in groups:
        found = consumers(model, typing, group)
        if not found:
            raise DataError(
                f"no layer with constant weights reads {group.name} as one axis, so nothing can be projected",
                f"leave it out with exclude={group.name}",
            )
        scorers.append([_Scorer(model, group, consumer, heads) for consumer in found])
    flat = [scorer for each in scorers for scorer in each]
    done = 0
    for part, values in capture(model, [s.consumer.tensor for s in flat], data, batch, options):
        for scorer in flat:
            scorer.update(values[scorer.consumer.tensor], token_mask(part))
        done += len(part)
        progress(done)
    return [np.sum([scorer.scores() for scorer in each], axis=0) for each in scorers]
