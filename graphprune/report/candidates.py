"""Several results of one network side by side: which of them are worth having, and how to take each."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from graphprune.base.documents import Document
from graphprune.evaluation.accuracy import Evaluation
from graphprune.report.result import Result
from graphprune.report.text import compact, size

Axes = tuple[float | None, float | None, float, float]


@dataclass(frozen=True)
class MadeCandidate:
    """One of several: what was ``asked``, and what came of it.

    ``output`` and ``plan`` are its files. ``lost`` is what it loses as a share of what the ``evaluation`` counts, None
    where nothing was judged; ``time_ratio`` and ``median_ms`` are measured, None where nothing was timed. ``is_front``:
    none of the others is better in one of loss, time, MACs and size and no worse in the rest. ``why`` tells what kept
    it from being written; then there are no figures.
    """

    asked: str
    why: str = ""
    output: str | None = None
    plan: str | None = None
    macs: int | None = None
    params: int | None = None
    bytes: int | None = None
    time_ratio: float | None = None
    median_ms: float | None = None
    lost: float | None = None
    evaluation: Evaluation | None = None
    is_front: bool = False

    @classmethod
    def of(cls, asked: str, result: Result, plan: Path | None, lost: float | None) -> MadeCandidate:
        """A result that was written."""
        times = None if result.measurement is None else result.measurement.comparison
        return cls(
            asked,
            output=None if result.output is None else str(result.output),
            plan=None if plan is None else str(plan),
            macs=result.after.macs,
            params=result.after.params,
            bytes=result.after.bytes,
            time_ratio=None if times is None else times.ratio,
            median_ms=None if times is None else times.second.median_ms,
            lost=lost,
            evaluation=result.evaluation,
        )

    @property
    def axes(self) -> Axes:
        """Loss, time, MACs and size: less is better in each."""
        return self.lost, self.time_ratio, self.macs or 0, self.bytes or 0

    def figures(self) -> tuple[str, ...]:
        """Asked, MACs, size, time and loss in words."""
        time = "" if self.median_ms is None else f"{self.median_ms:.3f} ms ({100 * (self.time_ratio or 0):.0f} %)"
        lost = "" if self.lost is None else f"{100 * self.lost:.2f} %"
        return self.asked, compact(self.macs or 0), size(self.bytes or 0), time, lost


class CandidatesFile(Document, frozen=True, tag="graphprune.candidates/1"):
    """The JSON of several results of one network, the network as given first: its MACs, parameters and bytes."""

    source: str
    macs: int
    params: int
    bytes: int
    data: str | None
    candidates: list[MadeCandidate]

    def command(self, candidate: MadeCandidate) -> str:
        """What makes the candidate again."""
        data = [] if self.data is None else ["--data", self.data]
        return shlex.join(["graphprune", "apply", self.source, str(candidate.plan), *data, "-o", "small.onnx"])


def is_beaten(one: Axes, by: Axes) -> bool:
    """Whether the other is better in one figure, and no worse in any."""
    pairs = [(mine, theirs) for mine, theirs in zip(one, by, strict=True) if mine is not None and theirs is not None]
    return all(theirs <= mine for mine, theirs in pairs) and any(theirs < mine for mine, theirs in pairs)


def on_front(candidates: Sequence[MadeCandidate]) -> list[bool]:
    """Which of them no other one beats."""
    made = [candidate for candidate in candidates if not candidate.why]
    return [
        not candidate.why and not any(is_beaten(candidate.axes, other.axes) for other in made)
        for candidate in candidates
    ]
