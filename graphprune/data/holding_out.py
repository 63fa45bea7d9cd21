"""Samples that calibration does not see: every fifth one, and all behind those that it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from graphprune.data.batching import Arrays
from graphprune.data.dataset import Data

_EVERY = 5
_MOST_HELD_OUT = 2_000

Rule = Callable[[NDArray[np.int64]], NDArray[np.bool_]]
"""Which samples, by their places in the source, are meant."""


@dataclass(frozen=True)
class HoldOut:
    """``taken`` samples calibrate at most (None: four of five of all)."""

    taken: int | None

    @property
    def read(self) -> int | None:
        """How many samples of the source are looked at in all."""
        return None if self.taken is None else _EVERY * self.taken // (_EVERY - 1) + _MOST_HELD_OUT

    def calibrating(self, data: Data) -> Data:
        """What is left of all samples ``data`` when some are held out."""
        return replace(picked(data, self._calibrates), limit=self.taken)

    def held_out(self, data: Data) -> Data:
        """The others, 2,000 at most."""
        return replace(picked(data, lambda places: ~self._calibrates(places)), limit=_MOST_HELD_OUT)

    def _calibrates(self, places: NDArray[np.int64]) -> NDArray[np.bool_]:
        is_kept: NDArray[np.bool_] = places % _EVERY != _EVERY - 1
        return is_kept if self.taken is None else is_kept & (places - places // _EVERY < self.taken)


def picked(data: Data, rule: Rule) -> Data:
    """Those of the samples that are meant by ``rule``."""

    def chunks() -> Iterator[Arrays]:
        start, left = 0, data.limit
        for part in data.parts():
            part = part if left is None else part.pick(slice(0, left))
            places = np.arange(start, start + len(part))
            start += len(part)
            which = rule(places)
            if which.any():
                yield part.pick(which).arrays()
            if left is not None:
                left -= len(part)
                if not left:
                    return

    return replace(data, chunks=chunks)
