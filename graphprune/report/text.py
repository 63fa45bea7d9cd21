"""Long names and large numbers in little room."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size

_ELLIPSIS = "…"


def shorten(name: str, width: int) -> str:
    """``name`` in at most ``width`` cells, cut in the middle: its end tells most, its beginning where it belongs."""
    if cell_len(name) <= width:
        return name
    head = min(5, max(0, width - 1) // 4)
    tail = name
    while cell_len(tail) > max(0, width - 1 - head):
        tail = tail[1:]
    return set_cell_size(name, head).rstrip() + _ELLIPSIS + tail


def compact(number: int) -> str:
    """Three digits and a letter: 950, 1.23k, 45.6M, 7.89G."""
    value, letters = float(abs(number)), iter("kMGTP")
    letter = ""
    while value >= 999.5 and (following := next(letters, None)):
        value, letter = value / 1000, following
    digits = f"{value:#.3g}".rstrip(".") if letter else f"{value:.0f}"
    return f"{'-' if number < 0 else ''}{digits}{letter}"
