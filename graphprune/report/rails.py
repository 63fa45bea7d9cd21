"""Where the rails of a group picture run: lanes side by side, so that no two share a place."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass

_BEND = 8


@dataclass(frozen=True)
class Rail:
    """Heights: where the rail leaves the group's box, where further writers join it, where it stops at readers."""

    start: int
    joins: tuple[int, ...]
    stops: tuple[int, ...]

    @property
    def span(self) -> tuple[int, int]:
        heights = (self.start, *self.joins, *self.stops)
        return min(heights) - _BEND, max(heights) + _BEND

    def paths(self, x: int, left: int, box: int) -> tuple[str, str]:
        """SVG path data of the lines, and of the arrow heads and dots.

        The rail stands at ``x``; what joins it and where it stops is at ``left``;
        it leaves a box whose edge is ``box``.
        """
        if not self.joins and not self.stops:
            return "", ""
        low = self.span[0] + _BEND
        end = max(self.start + _BEND, *self.joins, *(y - _BEND for y in self.stops))
        lines = [f"M{box},{self.start}", self._turn(x, box), f"V{end}"]
        if low < self.start:
            lines.append(f"M{x},{self.start + _BEND}V{low}")
        tips = []
        for y in self.joins:
            lines.append(f"M{left},{y}H{x}")
            tips.append(f"M{x - 3},{y}a3,3,0,1,0,6,0a3,3,0,1,0,-6,0z")
        for y in self.stops:
            bend = _BEND if y > self.start else -_BEND
            lines.append(f"M{x},{y - bend}Q{x},{y},{x - _BEND},{y}H{left + 5}")
            tips.append(f"M{left},{y}l6,-3v6z")
        return "".join(lines), "".join(tips)

    def _turn(self, x: int, box: int) -> str:
        """From the box into the rail."""
        beside = x + (_BEND if box > x else -_BEND)
        return f"H{beside}Q{x},{self.start},{x},{self.start + _BEND}"


def lanes(spans: Sequence[tuple[int, int]]) -> list[int]:
    """A lane for each span, none twice at one height; short spans take the inner lanes, which are the first."""
    taken: list[list[tuple[int, int]]] = []
    result = [0] * len(spans)
    for index in sorted(range(len(spans)), key=lambda index: spans[index][1] - spans[index][0]):
        low, high = spans[index]
        lane = next((lane for lane, others in enumerate(taken) if _is_free(others, low, high)), len(taken))
        if lane == len(taken):
            taken.append([])
        insort(taken[lane], (low, high))
        result[index] = lane
    return result


def _is_free(taken: Sequence[tuple[int, int]], low: int, high: int) -> bool:
    """Whether a span meets none of some that do not meet each other."""
    after = bisect_left(taken, (low, high))
    return (after == len(taken) or taken[after][0] >= high) and (after == 0 or taken[after - 1][1] <= low)
