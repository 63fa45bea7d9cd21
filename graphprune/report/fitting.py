"""Names beside numbers in a table of the terminal's width: cut in the middle where they do not fit, never broken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from rich.cells import cell_len

from graphprune.report.text import shorten

LEAST_WIDTH = 16
_GAP = 3  # between two columns


def room_for_names(width: int, columns: Iterable[Sequence[str]]) -> int:
    """Cells that ``columns``, each with its header, leave of ``width`` for the names before them."""
    widths = [max(map(cell_len, column)) + _GAP for column in columns]
    return max(LEAST_WIDTH, width - sum(widths))


def fitted(names: Sequence[str], room: int) -> list[str]:
    """The names in at most ``room`` cells; what would be taken for another stays as it is."""
    short = [shorten(name, room) for name in names]
    counts = Counter(short)
    return [name if counts[each] > 1 else each for name, each in zip(names, short, strict=True)]
