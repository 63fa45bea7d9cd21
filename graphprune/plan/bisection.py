"""The largest cut that keeps within something, by trying few of them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

CLOSE = 0.01
"""So close in the share that is left, two cuts are a step apart."""
_FIRST_STEP = 0.2
_LEAST = 1e-6
MOST_TRIALS = 10


@dataclass(frozen=True)
class Bracket(Generic[T]):
    """``within`` is the largest that was found to keep within, ``beyond`` the smallest larger one that does not; None
    where there is none.
    """

    within: T | None
    beyond: T | None


def largest(
    cut_at: Callable[[float], T],
    key: Callable[[T], Hashable],
    is_within: Callable[[T], bool],
    is_all: Callable[[T], bool],
) -> Bracket[T]:
    """``cut_at`` a share that is to be left, above 0 and below 1, is asked for larger steps until one is too large, and
    between the last two until they are a step apart.

    ``is_within`` tries a cut, each ``key`` once, at most ten of them. ``is_all``: no larger cut can be had.
    """
    tried: dict[Hashable, bool] = {}
    low, high = 0.0, 1.0  # shares left: one that is too large a cut, one that is not
    within: T | None = None
    beyond: T | None = None
    step = _FIRST_STEP
    while high - low > CLOSE and len(tried) < MOST_TRIALS:
        share = max(_LEAST, high - step) if beyond is None else (low + high) / 2
        cut = cut_at(share)
        if key(cut) not in tried:
            tried[key(cut)] = is_within(cut)
        if tried[key(cut)]:
            high, within = share, cut
            if is_all(cut):
                break
            step *= 2
        else:
            low, beyond = share, cut
    return Bracket(within, beyond)
