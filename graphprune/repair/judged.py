"""One sample judged by the network's outputs: how far they move from what the whole network makes of it."""

from __future__ import annotations

import numpy as np

from graphprune.importance.divergence import Divergence
from graphprune.ir.model import Model
from graphprune.repair import padding
from graphprune.runtime.sessions import Feeds


class Judged:
    """``scores`` (..., classes) are what ``model`` gives for ``feeds``; padding does not count."""

    def __init__(self, model: Model, feeds: Feeds, scores: np.ndarray) -> None:
        mask = padding.mask_input(model)
        self._counted = padding.counted(feeds[mask], scores.shape) if mask else None
        self._divergence = Divergence(self._rows(scores))

    def divergence(self, scores: np.ndarray) -> float:
        """KL in nats, the mean over tokens (of classifiers: samples), of other scores for the same sample."""
        return self._divergence.of(self._rows(scores))

    def _rows(self, scores: np.ndarray) -> np.ndarray:
        return scores.reshape(-1, scores.shape[-1]) if self._counted is None else scores[self._counted]
