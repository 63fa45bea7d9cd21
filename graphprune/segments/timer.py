"""How long each part of two networks takes: parts run one after another, each in a session of its own,
on one thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from graphprune.analysis.dataflow import DataFlow
from graphprune.ir.model import Model
from graphprune.runtime.sessions import Feeds, RuntimeOptions
from graphprune.runtime.timing import Limits, exactly, own_ms, rounds_ms
from graphprune.segments.cuts import as_named
from graphprune.segments.partition import partition
from graphprune.segments.runner import SessionChain

_WARM_UPS = 3
_LIMITS = Limits(min_rounds=10, max_rounds=200, min_seconds=1.5)


@dataclass(frozen=True)
class SegmentTimes:
    """Median milliseconds of every part of both networks, from so many passes of each."""

    first_ms: list[float]
    second_ms: list[float]
    passes: int


class SegmentTimer:
    """Two networks cut into the same ``parts`` (node names); what one of them lacks takes it no time."""

    def __init__(self, first: Model, second: Model, parts: Sequence[Sequence[str]], options: RuntimeOptions) -> None:
        self.chains = [chain_of(model, parts, options) for model in (first, second)]
        for chain in self.chains:
            chain.open()

    def measure(self, feeds: Feeds) -> SegmentTimes:
        """Both run in turn on ``feeds``."""
        runs = [lambda chain=chain: chain.run(feeds)[1] for chain in self.chains]
        rounds_ms(runs, exactly(_WARM_UPS))
        times_ms = rounds_ms(runs, _LIMITS, timed=own_ms)
        first, second = np.median(times_ms, axis=0).tolist()
        return SegmentTimes(first, second, len(times_ms))


def chain_of(model: Model, parts: Sequence[Sequence[str]], options: RuntimeOptions) -> SessionChain:
    """What is left in ``model`` of ``parts``, node names of a network that it has come out of."""
    flow = model.derived(DataFlow)
    return SessionChain.of(model, partition(flow, as_named(flow, parts), flow.outputs), options)
