"""Candidate blocks compared with the network that still has them: one set of forward passes, any number of comparisons.

What is found out about a candidate does not depend on which others are asked about with it,
so portions of the candidates can go to other processes, each with all of the data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from graphprune.analysis.blocks import Block
from graphprune.analysis.representation import Representation
from graphprune.data.dataset import Data
from graphprune.runtime.blas import one_blas_thread
from graphprune.segments.ablation import ablations
from graphprune.segments.packing import Packing, packed, unpacked
from graphprune.segments.runner import Segments
from graphprune.workers import Workers

Rows = NDArray[np.floating]
Labels = NDArray[np.int64]
R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")


class FeatureComparison(Protocol[R_co]):
    """Takes the features of one representation, batch by batch: first the reference's (n, d), then each candidate's."""

    @property
    def rows(self) -> int:
        """How many rows the reference has given."""
        ...

    @property
    def least_rows(self) -> int:
        """How many it takes to say something."""
        ...

    @property
    def is_informative(self) -> bool:
        """Whether the reference is finite and varies, so that something can be told from it."""
        ...

    def reference(self, features: Rows, labels: Labels | None = None) -> None:
        """Begin a batch; ``labels`` are the classes of its samples, where the data has them."""
        ...

    def candidate(self, index: int, features: Rows) -> None: ...

    def result(self, index: int) -> R_co:
        """What the comparison says of candidate ``index``, when all rows have been given."""
        ...


@dataclass(frozen=True)
class Compared(Generic[R]):
    """A comparison after all of the data. ``results`` are those of the candidates; none where nothing can be told."""

    rows: int
    least_rows: int
    is_informative: bool
    results: tuple[R, ...]


@dataclass(frozen=True)
class _Question(Generic[R]):
    """One set of forward passes: all but the segments and the data."""

    representations: Sequence[Representation]
    candidates: Sequence[Block]
    gone: frozenset[str]
    batch: int
    threads: int
    make: Callable[[], FeatureComparison[R]]
    against_original: bool


def compare_blocks(
    segments: Segments,
    representations: Sequence[Representation],
    candidates: Sequence[Block],
    gone: frozenset[str],
    data: Data,
    batch: int,
    threads: int,
    make: Callable[[], FeatureComparison[R]],
    *,
    against_original: bool,
    workers: Workers | None = None,
) -> list[Compared[R]]:
    """One comparison per representation, which has seen all of ``data`` without each of ``candidates``, in their order.

    The reference is the network without the blocks in ``gone`` (join names),
    or the whole one with ``against_original``. With ``workers`` each of them sees to a portion of the candidates; the
    answer is the same to the last bit.
    """
    if workers is None:
        question = _Question(representations, candidates, gone, batch, threads, make, against_original)
        return _asked(segments, data, question)
    count = min(workers.count, len(candidates))
    questions = [  # every count-th: late candidates cost less than early ones
        _Question(representations, part, gone, batch, workers.threads(threads), make, against_original)
        for part in (candidates[start::count] for start in range(count))
    ]
    parcel = packed(segments, data, batch, for_other_machines=workers.are_remote)
    return _joined(workers.map(_answered, parcel, questions), len(candidates))


def _answered(parcel: Packing, question: _Question[R]) -> list[Compared[R]]:
    """What a worker does."""
    return _asked(unpacked(parcel), parcel.data, question)


def _asked(segments: Segments, data: Data, question: _Question[R]) -> list[Compared[R]]:
    comparisons = [question.make() for _ in question.representations]
    parts = ablations(
        segments,
        question.representations,
        question.candidates,
        question.gone,
        data,
        question.batch,
        question.threads,
        against_original=question.against_original,
    )
    with one_blas_thread():
        for part in parts:
            for index, comparison in enumerate(comparisons):
                comparison.reference(part.reference[index], part.labels)
                for candidate, features in enumerate(part.candidates):
                    comparison.candidate(candidate, features[index])
        can_tell = any(each.is_informative for each in comparisons) and all(
            each.rows >= each.least_rows for each in comparisons
        )
        asked = range(len(question.candidates) if can_tell else 0)
        return [
            Compared(each.rows, each.least_rows, each.is_informative, tuple(each.result(i) for i in asked))
            for each in comparisons
        ]


def _joined(portions: Sequence[list[Compared[R]]], candidates: int) -> list[Compared[R]]:
    """The portions as if they had been one."""
    count = len(portions)
    return [
        replace(parts[0], results=tuple(parts[i % count].results[i // count] for i in range(candidates)))
        if parts[0].results
        else parts[0]
        for parts in zip(*portions, strict=True)
    ]
