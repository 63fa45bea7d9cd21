"""Calibration samples in two parts: one to choose and repair with, the other to judge by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from graphprune.data.batching import Arrays
from graphprune.data.dataset import Data


def split(data: Data, samples: int) -> tuple[Data, Data]:
    """The even and the odd ones of the first ``samples`` samples; of an odd number the first part has one more."""
    most = samples if data.limit is None else min(samples, data.limit)
    return _every_second(data, 0, most), _every_second(data, 1, most)


def _every_second(data: Data, first: int, most: int) -> Data:
    def chunks() -> Iterator[Arrays]:
        seen = 0
        for part in data.parts():
            taken = min(len(part), most - seen)
            start = (first - seen) % 2
            if start < taken:
                yield part.pick(slice(start, taken, 2)).arrays()
            seen += taken
            if seen >= most:
                return

    return replace(data, chunks=chunks, limit=(most + 1 - first) // 2)
