"""Held-out samples in a nameless temporary file: read once from the source, then once per epoch from here."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import numpy as np

from graphprune.data.dataset import Arrays, Batch


class BatchFile:
    """Collects samples in batches of ``size`` on disk; memory holds one batch. ``exact`` drops a smaller last one."""

    def __init__(self, size: int, exact: bool) -> None:
        self._size, self._exact = size, exact
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        self._names: list[str] = []
        self._labelled: list[bool] = []  # one entry per batch written
        self._waiting: list[Batch] = []
        self.samples = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, part: Batch) -> None:
        """Append samples."""
        for start in range(0, len(part), self._size):
            self._waiting.append(_cut(part, start, start + self._size))
            if sum(map(len, self._waiting)) >= self._size:
                joined = _joined(self._waiting)
                self._write(_cut(joined, 0, self._size))
                rest = _cut(joined, self._size, len(joined))
                self._waiting = [rest] if len(rest) else []

    def finish(self) -> None:
        """Write what is left."""
        if self._waiting and not self._exact:
            self._write(_joined(self._waiting))
        self._waiting = []

    def batches(self) -> Iterator[Batch]:
        """All batches, from the first."""
        self._file.seek(0)
        for labelled in self._labelled:
            feeds: Arrays = {name: np.load(self._file, allow_pickle=False) for name in self._names}
            yield Batch(feeds, np.load(self._file, allow_pickle=False) if labelled else None)

    def _write(self, batch: Batch) -> None:
        self._names = list(batch.feeds)
        for array in (*batch.feeds.values(), *(() if batch.labels is None else (batch.labels,))):
            np.save(self._file, array, allow_pickle=False)
        self._labelled.append(batch.labels is not None)
        self.samples += len(batch)


def _cut(batch: Batch, start: int, stop: int) -> Batch:
    labels = None if batch.labels is None else batch.labels[start:stop]
    return Batch({name: array[start:stop] for name, array in batch.feeds.items()}, labels)


def _joined(parts: list[Batch]) -> Batch:
    labels = [part.labels for part in parts if part.labels is not None]
    feeds = {name: np.concatenate([part.feeds[name] for part in parts]) for name in parts[0].feeds}
    return Batch(feeds, np.concatenate(labels) if len(labels) == len(parts) else None)
