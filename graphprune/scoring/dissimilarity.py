"""The eight dissimilarities of the consensus, of one reference against many candidates, all on the same features.

What CKA, permutation and linear need are products, which are streamed;
the Wasserstein and Gaussian distances need the rows, which are kept where one of these is asked for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from graphprune.importance.shape_metrics import linear, permutation
from graphprune.importance.stochastic_metrics import gaussian_stochastic
from graphprune.importance.streaming import StreamedCKA
from graphprune.importance.wasserstein import wasserstein
from graphprune.scoring.blocks import Labels, Rows

_GAUSSIAN = {"gaussian_stochastic_0": 0, "gaussian_stochastic_1": 1, "gaussian_stochastic_2": 2}
_OF_ROWS = {"wasserstein", *_GAUSSIAN}
METRICS = ("cka", "permutation", "linear_1", "linear_0", *_GAUSSIAN, "wasserstein")
"""All names, in the order of the paper's code."""


@dataclass(frozen=True)
class Distances:
    """Of one candidate: metric -> distance (small = alike, infinite where that cannot be told).

    ``left_out`` tells of the metrics that the data does not allow why.
    """

    values: dict[str, float]
    left_out: dict[str, str]


class Dissimilarities:
    """A :class:`~graphprune.scoring.blocks.FeatureComparison` for ``metrics``, some of :data:`METRICS`."""

    def __init__(self, metrics: Sequence[str]) -> None:
        self.metrics = metrics
        self.width = 0
        self._stream = StreamedCKA()
        self._keeps = not _OF_ROWS.isdisjoint(metrics)
        self._reference: list[Rows] = []
        self._candidates: dict[int, list[Rows]] = defaultdict(list)
        self._labels: list[Labels | None] = []
        self._positions = False

    @staticmethod
    def memory_bytes(metrics: Sequence[str], rows: int, width: int) -> int:
        """At most what one candidate takes after ``rows`` rows of ``width`` float32 features."""
        kept = 0 if _OF_ROWS.isdisjoint(metrics) else 4 * rows * width
        return StreamedCKA.memory_bytes(rows, width) + kept

    @property
    def rows(self) -> int:
        return self._stream.rows

    @property
    def least_rows(self) -> int:
        return self._stream.least_rows

    @property
    def is_informative(self) -> bool:
        return self._stream.is_informative

    def reference(self, features: Rows, labels: Labels | None = None) -> None:
        self._stream.reference(features)
        self.width = features.shape[1]
        self._labels.append(labels)
        self._positions |= labels is not None and len(labels) != len(features)
        if self._keeps:
            self._reference.append(features.copy())

    def candidate(self, index: int, features: Rows) -> None:
        self._stream.candidate(index, features)
        if self._keeps:
            self._candidates[index].append(features.copy())

    def result(self, index: int) -> Distances:
        """How far candidate ``index`` is from the reference."""
        obstacles = {metric: self._obstacle(metric) for metric in self.metrics}
        return Distances(
            values={metric: self._distance(metric, index) for metric, why in obstacles.items() if not why},
            left_out={metric: why for metric, why in obstacles.items() if why},
        )

    def _obstacle(self, metric: str) -> str:
        """Why the data does not allow ``metric``; empty when it does."""
        if metric in _GAUSSIAN and any(labels is None for labels in self._labels):
            return "the data has no labels"
        if metric in _GAUSSIAN and self._positions:
            return "the features are of positions, the labels of samples"
        if metric == "linear_0" and self.rows <= self.width:
            return f"{self.rows} samples of {self.width} features can always be mapped onto each other"
        return ""

    def _distance(self, metric: str, index: int) -> float:
        if metric == "cka":
            return 1 - self._stream.result(index)[0]
        if metric == "permutation":
            return permutation(self._stream.products(index))
        if metric in ("linear_0", "linear_1"):
            return linear(self._stream.products(index, in_span=True), float(metric[-1]))
        reference, candidate = np.concatenate(self._reference), np.concatenate(self._candidates[index])
        if metric == "wasserstein":
            return wasserstein(reference, candidate)
        labels = np.concatenate([each for each in self._labels if each is not None])
        return gaussian_stochastic(reference, candidate, labels, _GAUSSIAN[metric])
