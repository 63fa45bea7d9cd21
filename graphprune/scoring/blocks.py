"""Candidate blocks compared with the network that still has them: one set of forward passes, any number of comparisons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from graphprune.data import Data
from graphprune.runtime.ablation import ablations
from graphprune.runtime.segments import Segments
from graphprune.structure.blocks import Block
from graphprune.structure.representation import Representation

Rows = NDArray[np.floating]
Labels = NDArray[np.int64]


class Comparison(Protocol):
    """Takes the features of one representation, batch by batch: first the reference's (n, d), then each candidate's."""

    @property
    def rows(self) -> int:
        """How many rows the reference has given."""
        ...

    @property
    def is_informative(self) -> bool:
        """Whether the reference is finite and varies, so that something can be told from it."""
        ...

    def reference(self, features: Rows, labels: Labels | None = None) -> None:
        """Begin a batch; ``labels`` are the classes of its samples, where the data has them."""
        ...

    def candidate(self, index: int, features: Rows) -> None: ...


C = TypeVar("C", bound=Comparison)


def compare_blocks(
    segments: Segments,
    representations: Sequence[Representation],
    candidates: Sequence[Block],
    gone: frozenset[str],
    data: Data,
    batch: int,
    threads: int,
    make: Callable[[], C],
    *,
    against_original: bool,
) -> list[C]:
    """One comparison per representation, which has seen all of ``data`` without each of ``candidates``, by index.

    The reference is the network without the blocks in ``gone`` (join names), or the whole one with ``against_original``.
    """
    comparisons = [make() for _ in representations]
    for part in ablations(
        segments, representations, candidates, gone, data, batch, threads, against_original=against_original
    ):
        for index, comparison in enumerate(comparisons):
            comparison.reference(part.reference[index], part.labels)
            for candidate, features in enumerate(part.candidates):
                comparison.candidate(candidate, features[index])
    return comparisons
