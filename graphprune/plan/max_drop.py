"""How much a network may lose, and what was found to keep within it. Pure arithmetic."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import ceil, isfinite
from typing import Literal, get_args

from graphprune.errors import OptionError

JudgedBy = Literal["interval", "estimate"]


@dataclass(frozen=True)
class Drop:
    """What a cut loses on held-out samples, as a share, with the ends of its 95 % interval (None: not known).

    ``kind`` ``top1``: share of right answers less; ``agreement``: share of samples (tokens) that are no longer decided
    as the original does; ``error``: the largest relative error of an output; ``perplexity``: how much higher it is, as
    a share of the original's; ``metric``: how much worse, as a share of the original's.
    """

    kind: str
    value: float
    low: float | None
    high: float | None
    samples: int

    def __str__(self) -> str:
        unit = " pt" if self.kind in ("top1", "agreement") else " %"
        ends = "" if self.low is None or self.high is None else f" [{100 * self.low:.2f}, {100 * self.high:.2f}]"
        return f"{100 * self.value + 0.0:.2f}{unit}{ends}"


@dataclass(frozen=True)
class MaxDrop:
    """``share`` is the most that may be lost; ``by`` tells whether the upper end of the 95 % interval must keep within
    it, or the estimate alone.
    """

    share: float
    by: JudgedBy = "interval"

    def __post_init__(self) -> None:
        if self.by not in get_args(JudgedBy):
            raise OptionError(f"'{self.by}' is no way to judge a loss", f"write {' or '.join(get_args(JudgedBy))}")
        if not (isfinite(self.share) and self.share > 0):
            raise OptionError(f"a loss of {self.share:g} at most is none", "write for example max-drop 1%")

    def __str__(self) -> str:
        return f"{100 * self.share:g}%"

    @classmethod
    def parse(cls, text: str, by: JudgedBy = "interval") -> MaxDrop:
        """Read ``1%`` or ``0.01``.

        Raises
        ------
        OptionError
            It is no number above 0, or one of 1 and more that does not say of what.
        """
        text = str(text).strip()
        match = re.fullmatch(r"(\d+\.?\d*|\.\d+)(%?)", text)
        if match is None:
            raise OptionError(f"'{text}' does not say how much may be lost", "write for example --max-drop 1%")
        if not match[2] and float(match[1]) >= 1:
            raise OptionError(f"--max-drop {text} is {100 * float(match[1]):g} %", f"write {text}% for {text} %")
        return cls(float(match[1]) / (100 if match[2] else 1), by)

    def bound(self, drop: Drop) -> float:
        """The figure that must keep within the share."""
        return drop.value if self.by == "estimate" or drop.high is None else drop.high

    def allows(self, drop: Drop) -> bool:
        """Whether no more is lost."""
        return self.bound(drop) <= self.share

    def samples_needed(self, drop: Drop) -> int | None:
        """Roughly how many samples would show that such a loss keeps within; None where none would."""
        if drop.high is None or drop.value >= self.share or self.by == "estimate":
            return None
        wider = (drop.high - drop.value) / (self.share - drop.value)
        return ceil(drop.samples * wider**2)


@dataclass(frozen=True)
class TriedCut:
    """A cut that was made, repaired and judged: what is left of MACs and parameters, and what it lost."""

    macs: int
    params: int
    removed: int
    drop: Drop
    is_within: bool


@dataclass(frozen=True)
class BudgetRecord:
    """``max_drop`` and ``by`` are what was asked for; ``reached`` is what the written file loses, None where none was.

    ``beyond`` is the smallest cut tried that loses too much; None where the passes' own limits came first, or where a
    target said how much goes. ``trials`` are all cuts in the order in which they were tried.
    """

    max_drop: float
    by: JudgedBy
    reached: Drop | None = None
    beyond: TriedCut | None = None
    trials: tuple[TriedCut, ...] = ()

    @property
    def asked(self) -> MaxDrop:
        """The budget as a value."""
        return MaxDrop(self.max_drop, self.by)
