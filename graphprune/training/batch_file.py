"""Held-out samples in a nameless temporary file: read once from the source, then once per epoch from here."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import numpy as np

from graphprune.data.batching import ROWS, Arrays, Batch


class BatchFile:
    """Collects samples in batches of ``size`` on disk; memory holds one batch. ``exact`` drops a smaller last one."""

    def __init__(self, size: int, exact: bool) -> None:
        self.size, self._exact = size, exact
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        self._names: list[str] = []
        self._labelled: list[bool] = []  # one entry per batch written
        self._waiting: list[Batch] = []
        self._batching = ROWS
        self.samples = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, part: Batch) -> None:
        """Append samples."""
        for start in range(0, len(part), self.size):
            self._waiting.append(part.pick(slice(start, start + self.size)))
            if sum(map(len, self._waiting)) >= self.size:
                joined = Batch.join(self._waiting)
                self._write(joined.pick(slice(0, self.size)))
                rest = joined.pick(slice(self.size, len(joined)))
                self._waiting = [rest] if len(rest) else []

    def finish(self) -> None:
        """Write what is left."""
        if self._waiting and not self._exact:
            self._write(Batch.join(self._waiting))
        self._waiting = []

    def batches(self) -> Iterator[Batch]:
        """All batches, from the first."""
        self._file.seek(0)
        for labelled in self._labelled:
            feeds: Arrays = {name: np.load(self._file, allow_pickle=False) for name in self._names}
            yield Batch(feeds, np.load(self._file, allow_pickle=False) if labelled else None, self._batching)

    def _write(self, batch: Batch) -> None:
        self._names, self._batching = list(batch.feeds), batch.batching
        for array in (*batch.feeds.values(), *(() if batch.labels is None else (batch.labels,))):
            np.save(self._file, array, allow_pickle=False)
        self._labelled.append(batch.labels is not None)
        self.samples += len(batch)
