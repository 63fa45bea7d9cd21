"""What the report shows beyond the result; gathered only when a report is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

PartState = Literal["removed", "cut", "kept", "stays"]
"""What became of a unit: gone, thinner, a candidate that was kept, or out of the question."""


@dataclass(frozen=True)
class Layer:
    """A layer with weights and how many channels it writes; 0 after its removal."""

    name: str
    before: int
    after: int


@dataclass(frozen=True)
class StripPart:
    """A stretch of the network in execution order: a residual block, or a layer with what follows it.

    ``ms_before`` and ``ms_after`` are medians of its run time; None where nothing was timed.
    """

    name: str
    layers: tuple[Layer, ...]
    is_residual: bool
    state: PartState
    macs_before: int
    macs_after: int
    ms_before: float | None = None
    ms_after: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class NetworkStrip:
    """The network as parts; ``caption`` says how they were timed, or why not.

    ``ratio`` is the measured time of the whole network after over before: parts that run by themselves add up to
    another one, for fusions between them are missing and each is a little off.
    """

    parts: tuple[StripPart, ...]
    caption: str
    ratio: float | None = None

    @property
    def is_timed(self) -> bool:
        return all(part.ms_before is not None for part in self.parts)

    def weights(self) -> list[tuple[float, float]]:
        """What the parts cost before and after: shares of the whole network's time before, or MACs where nothing was
        timed.
        """
        if self.is_timed:
            times = [(part.ms_before or 0.0, part.ms_after or 0.0) for part in self.parts]
            before, after = (sum(column) or 1.0 for column in zip(*times, strict=True))
            ratio = after / before if self.ratio is None else self.ratio
            return [(own / before, ratio * left / after) for own, left in times]
        return [(float(part.macs_before), float(part.macs_after)) for part in self.parts]


@dataclass(frozen=True)
class Similarity:
    """Linear CKA between the outputs of the blocks ``names``; ``note`` tells where there is none, or what it is of."""

    names: tuple[str, ...] = ()
    values: tuple[tuple[float, ...], ...] = ()
    removed: frozenset[str] = frozenset()
    samples: int = 0
    note: str = ""


@dataclass(frozen=True)
class BlockRow:
    """A residual join; ``score`` is the last one its block got, None where it never was a candidate."""

    name: str
    state: PartState
    score: float | None
    standard_error: float | None
    macs: int
    reason: str


@dataclass(frozen=True)
class GroupOutcome:
    """A dependency group: how many of its units go, and why none can where that is so.

    ``unit_channels`` is the most channels of one layer that a unit is; 0 where that is not known.
    """

    name: str
    kind: str
    size: int
    unit_channels: int
    removed: int
    macs: int
    state: PartState
    reason: str


@dataclass(frozen=True)
class ReportData:
    """Everything gathered. ``facts`` are the circumstances, ``command`` what makes this run again."""

    strip: NetworkStrip
    similarity: Similarity
    blocks: tuple[BlockRow, ...]
    groups: tuple[GroupOutcome, ...]
    facts: Mapping[str, str]
    command: str
    language: Literal["console", "python"]
