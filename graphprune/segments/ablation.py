"""Features of the network with each candidate block taken out, batch by batch, on all cores.

Batches are worked on side by side and come back in order, or, where there are too few of them, the candidates of each;
so the answer does not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from graphprune.analysis.blocks import Block
from graphprune.analysis.representation import Representation
from graphprune.data.batching import Batch
from graphprune.data.dataset import Data
from graphprune.segments.in_order import in_order
from graphprune.segments.runner import Segments

Features = list[NDArray[np.floating]]
"""One matrix (n, d) per representation."""


@dataclass(frozen=True)
class Ablation:
    """One batch: the reference's features, those without each candidate, in the order asked for,
    and the samples' labels.
    """

    reference: Features
    candidates: list[Features]
    labels: NDArray[np.int64] | None


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

    The reference is the network without the blocks in ``removed``,
    or the whole one (``segments.origin`` if there is one) with ``against_original``.
    """
    origin = (segments.origin or segments) if against_original else None
    is_same = origin is None or (origin is segments and not removed)

    def features(values: dict[str, object], tensors: Sequence[str]) -> Features:
        return [r.features(values[t].numpy()) for r, t in zip(representations, tensors, strict=True)]  # type: ignore[attr-defined]

    def work(part: Batch, pool: ThreadPoolExecutor | None = None) -> Ablation:
        env = segments.run(part.feeds, removed)
        reference = env if is_same or origin is None else origin.run(part.feeds)
        run = map if pool is None else pool.map
        found = list(run(lambda block: features(segments.without(env, block, removed), mine), candidates))
        return Ablation(features(reference, mine if origin is None else origin.targets), found, part.labels)

    mine = [representation.tensor for representation in representations]
    batches = data.batches(batch)
    first = list(islice(batches, threads))
    with ThreadPoolExecutor(threads) as pool:
        if len(first) < threads:
            yield from (work(part, pool) for part in first)
        else:
            yield from in_order(pool, work, chain(first, batches), threads)
