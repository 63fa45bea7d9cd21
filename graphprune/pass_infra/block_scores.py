"""Where the candidates of a pass that removes blocks are scored."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TypeVar

from graphprune.analysis.blocks import Block
from graphprune.analysis.representation import Representation
from graphprune.errors import DataError
from graphprune.pass_infra.context import Context
from graphprune.plan.plan import Score
from graphprune.scoring.blocks import Compared
from graphprune.segments.runner import Segments

R = TypeVar("R")


@dataclass(frozen=True)
class BlockScoring:
    """Where candidates are scored: the sessions of the model, what is compared,
    and the joins of the blocks already gone.

    What a reader of the scores must know goes into ``notes``. ``earlier`` are the scores that the block before these
    was chosen by; empty for the first, and where the network has changed otherwise, too.
    """

    context: Context
    segments: Segments
    representations: Sequence[Representation]
    gone: frozenset[str]
    notes: list[str] = field(default_factory=list)
    earlier: tuple[Score, ...] = ()

    def told_before(self, candidates: Sequence[Block]) -> list[Score]:
        """What the block before these was chosen by, of each candidate; nothing for the first."""
        known = {score.unit: score for score in self.earlier}
        return [known[block.name] for block in candidates] if known else []

    def width(self, representation: Representation) -> int:
        """Features per row."""
        shape = self.context.sizes[representation.tensor]
        return prod(shape[1:2]) if self._is_by_channel(representation) else shape[-1]

    def row_limit(self, representation: Representation) -> int:
        """The most rows that the data may give."""
        return (self.context.data.limit or sys.maxsize) * self._rows_of_a_sample(representation)

    def batch_rows(self, representation: Representation) -> int:
        """The rows of a batch; as many batches are worked on at once as there are threads."""
        execution = self.context.execution
        samples = execution.batch * execution.runtime.thread_count
        return min(samples, self.context.data.limit or samples) * self._rows_of_a_sample(representation)

    def _rows_of_a_sample(self, representation: Representation) -> int:
        shape = self.context.sizes[representation.tensor]
        return 1 if self._is_by_channel(representation) else prod(shape[1:-1])

    def _is_by_channel(self, representation: Representation) -> bool:
        return representation.layout == "channels" or len(self.context.sizes[representation.tensor]) <= 2

    def refuse_useless(self, comparisons: Sequence[Compared[R]], spec: str) -> None:
        """Refuse data from which no score can be computed."""
        origin = self.context.data.origin
        rows, least = (min(each.rows for each in comparisons), max(each.least_rows for each in comparisons))
        if rows < least:
            raise DataError(
                f"{origin} gives {rows} sample{'s' * (rows != 1)} to compare, {spec} needs {least}", "give more data"
            )
        if not any(comparison.is_informative for comparison in comparisons):
            names = ", ".join(f"'{representation.tensor}'" for representation in self.representations)
            raise DataError(
                f"the representation {names} is the same for all samples of {origin}, or not finite (NaN)",
                "give data that differ, or name other tensors with the option representation",
            )
