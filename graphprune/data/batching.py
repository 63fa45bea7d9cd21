"""Which axis of each input counts samples. Found once for a model, and used wherever samples are cut or joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from graphprune.errors import DataError

Arrays = dict[str, np.ndarray]
"""Input name -> array, as the model wants it."""
Axes = Mapping[str, int | None]

LABEL_NAMES = ("labels", "y")


@dataclass(frozen=True)
class Batching:
    """``axes``: input name -> the axis that counts samples; None where one array serves all samples of a run.

    Inputs that are not named count samples along axis 0. Where no input counts samples, each run is one sample.
    ``size`` is the number of samples that the graph insists on; None where any number will do.
    """

    axes: Axes = field(default_factory=dict, hash=False)
    size: int | None = None

    def axis(self, name: str) -> int | None:
        """The axis of the input that counts samples."""
        return self.axes.get(name, 0)

    @property
    def counts_samples(self) -> bool:
        """Whether a run may hold several samples."""
        return not self.axes or any(axis is not None for axis in self.axes.values())

    @property
    def is_rows(self) -> bool:
        """Whether samples are the rows of every input."""
        return all(axis == 0 for axis in self.axes.values())

    def free(self) -> Self:
        """The same, with batches of any size."""
        return replace(self, size=None if self.counts_samples else 1)

    def count(self, feeds: Arrays) -> int:
        """How many samples these arrays hold; 0 where one of them has no such axis."""
        if not feeds:
            return 0
        sizes = [array.shape[axis] if axis < array.ndim else 0 for _, axis, array in self._counting(feeds)]
        return min(sizes, default=1)

    def pick(self, feeds: Arrays, index: Any) -> Arrays:
        """Some of the samples: ``index`` is a slice, a mask or indices. A slice gives views."""
        if not self.counts_samples and not len(np.arange(1)[index]):
            return {}
        picked = dict(feeds)
        for name, axis, array in self._counting(feeds):
            picked[name] = array[(slice(None),) * axis + (index,)]
        return picked

    def resized(self, feeds: Arrays, samples: int) -> Arrays:
        """So many samples, from the first on and then from the start again."""
        count = self.count(feeds)
        return feeds if count == samples else self.pick(feeds, np.arange(samples) % max(1, count))

    def fit_together(self, one: Arrays, other: Arrays) -> bool:
        """Whether two batches can be one: all other axes alike, and equal values where one array serves all."""
        for name, array in one.items():
            axis, more = self.axis(name), other[name]
            if axis is None:
                if not np.array_equal(array, more):
                    return False
            elif array.shape[:axis] + array.shape[axis + 1 :] != more.shape[:axis] + more.shape[axis + 1 :]:
                return False
        return True

    def join(self, parts: Sequence[Arrays]) -> Arrays:
        """The samples of all parts in one batch.

        Raises
        ------
        DataError
            They do not fit together.
        """
        first = parts[0]
        if len(parts) == 1:
            return first
        for part in parts[1:]:
            if not self.fit_together(first, part):
                raise DataError(
                    "samples differ in shape, or in an input that serves all samples of a run", "give one file per run"
                )
        joined = dict(first)
        for name, axis, _ in self._counting(first):
            joined[name] = np.concatenate([part[name] for part in parts], axis)
        return joined

    def rows(self, feeds: Arrays) -> Arrays:
        """Every input with its samples along the first axis; what serves all samples is shown once for each."""
        count = self.count(feeds)
        rows = {}
        for name, array in feeds.items():
            axis = self.axis(name)
            rows[name] = np.broadcast_to(array, (count, *array.shape)) if axis is None else np.moveaxis(array, axis, 0)
        return rows

    def from_rows(self, rows: Arrays) -> Arrays:
        """What :meth:`rows` was made of.

        Raises
        ------
        DataError
            The samples differ in an input that serves them all.
        """
        feeds = {}
        for name, array in rows.items():
            axis = self.axis(name)
            if axis is None and len(array) > 1 and not np.array_equal(array, np.broadcast_to(array[:1], array.shape)):
                raise DataError(
                    f"samples differ in input '{name}', which serves all samples of a run", "use batches of one sample"
                )
            feeds[name] = np.asarray(array[0]) if axis is None else np.moveaxis(array, 0, axis)
        return feeds

    def _counting(self, feeds: Arrays) -> list[tuple[str, int, np.ndarray]]:
        """The inputs that count samples, each with its axis."""
        named = ((name, self.axis(name), array) for name, array in feeds.items())
        return [(name, axis, array) for name, axis, array in named if axis is not None]

    def __str__(self) -> str:
        return ", ".join(f"{name}={'none' if axis is None else axis}" for name, axis in self.axes.items())


ROWS = Batching()
"""Samples are the rows of every input."""


@dataclass(frozen=True)
class Batch:
    """Feeds for one run and, where known, one class label per sample (int64, shape (n,))."""

    feeds: Arrays
    labels: np.ndarray | None
    batching: Batching = ROWS

    def __len__(self) -> int:
        return self.batching.count(self.feeds)

    def pick(self, index: Any) -> Batch:
        """Some of the samples: ``index`` is a slice, a mask or indices."""
        labels = None if self.labels is None else self.labels[index]
        return Batch(self.batching.pick(self.feeds, index), labels, self.batching)

    def rows(self) -> Arrays:
        """The feeds with samples along the first axis; see :meth:`Batching.rows`."""
        return self.batching.rows(self.feeds)

    def joins(self, other: Batch) -> bool:
        """Whether the two can be one."""
        return self.batching.fit_together(self.feeds, other.feeds)

    def arrays(self) -> Arrays:
        """Feeds and labels in one, as a source gives them."""
        if self.labels is None:
            return self.feeds
        return self.feeds | {next(name for name in LABEL_NAMES if name not in self.feeds): self.labels}

    @staticmethod
    def join(parts: Sequence[Batch]) -> Batch:
        """All samples in one batch; without labels where a part has none."""
        if len(parts) == 1:
            return parts[0]
        batching = parts[0].batching
        labels = [part.labels for part in parts if part.labels is not None]
        feeds = batching.join([part.feeds for part in parts])
        return Batch(feeds, np.concatenate(labels) if len(labels) == len(parts) else None, batching)
