"""Widths are kept in multiples that kernels like; narrow groups in a part of that."""

from __future__ import annotations

WHOLE_KINDS = ("heads", "kv-heads", "query-heads", "conv-groups")
"""Groups whose counts no kernel wants in multiples."""


def narrowed(multiple: int, size: int) -> int:
    """A half, a quarter ... of ``multiple`` for a group of few units.

    A group must have two steps at least, or the first layers of a small network could not shrink at all.
    """
    while multiple > 1 and size < 2 * multiple:
        multiple //= 2
    return multiple
