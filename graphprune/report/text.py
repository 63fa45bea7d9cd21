"""Long names and large numbers in little room."""

from __future__ import annotations

from collections.abc import Iterable

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


def without_common(names: Iterable[str]) -> dict[str, str]:
    """Names without the modules that all dotted ones begin with:
    ``model.vit.layers.0`` is ``layers.0`` among its like.
    """
    paths = {name: name.split(".") for name in names}
    dotted = [path for path in paths.values() if len(path) > 1]
    shared = 0
    while (
        len(dotted) > 1
        and all(len(path) > shared + 1 for path in dotted)
        and len({path[shared] for path in dotted}) == 1
    ):
        shared += 1
    return {name: (".".join(path[shared:]) or name) if len(path) > 1 else name for name, path in paths.items()}


def change(before: float, after: float) -> str:
    """The difference as a signed percentage of ``before``; empty where that is nothing."""
    return f"{100 * (after - before) / before:+.2f} %" if before else ""


def size(count_bytes: int) -> str:
    """Bytes in a unit that leaves at most three digits before the point."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count_bytes >= scale:
            return f"{count_bytes / scale:.2f} {unit}"
    return f"{count_bytes} B"
