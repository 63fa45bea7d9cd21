"""Features of the network with each candidate block taken out, batch by batch, on all cores.

Batches are worked on side by side and come back in order, so the answer does not depend on the number of threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from graphprune.data import Data
from graphprune.runtime.segments import Segments
from graphprune.runtime.sessions import Feeds
from graphprune.structure.blocks import Block
from graphprune.structure.representation import Representation

Features = list[NDArray[np.floating]]
"""One matrix (n, d) per representation."""


@dataclass(frozen=True)
class Ablation:
    """One batch: the reference's features, and those without each candidate, in the order asked for."""

    reference: Features
    candidates: list[Features]


def ablations(
    segments: Segments,
    representations: Sequence[Representation],
    candidates: Sequence[Block],
    removed: frozenset[str],
    data: Data,
    batch: int,
    threads: int,
    *,
    against_original: bool = False,
) -> Iterator[Ablation]:
    """Yield an :class:`Ablation` per batch of ``data``; at most ``threads`` batches are in memory.

    The reference is the network without the blocks in ``removed``, or the whole one with ``against_original``.
    """

    def features(values: dict[str, object]) -> Features:
        return [r.features(values[r.tensor].numpy()) for r in representations]  # type: ignore[attr-defined]

    def work(feeds: Feeds) -> Ablation:
        env = segments.run(feeds, removed)
        reference = segments.run(feeds) if against_original and removed else env
        return Ablation(features(reference), [features(segments.without(env, b, removed)) for b in candidates])

    batches = (batch.feeds for batch in data.batches(batch))
    with ThreadPoolExecutor(threads) as pool:
        pending: deque[Future[Ablation]] = deque(pool.submit(work, feeds) for feeds in islice(batches, threads))
        while pending:
            yield pending.popleft().result()
            pending.extend(pool.submit(work, feeds) for feeds in islice(batches, 1))
