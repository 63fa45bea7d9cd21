"""Widths are kept in multiples that kernels like; narrow groups in a part of that."""

from __future__ import annotations

from dataclasses import dataclass

WHOLE_KINDS = ("experts", "heads", "kv-heads", "query-heads", "conv-groups")
"""Groups whose counts no kernel wants in multiples."""


@dataclass(frozen=True)
class Multiples:
    """``width_multiple`` is for wide groups; if it ``is_automatic``, narrow ones take a part of it,
    and less will do if it must.
    """

    width_multiple: int
    is_automatic: bool

    def of(self, kind: str, size: int) -> int:
        """For a group of ``size`` units."""
        if kind in WHOLE_KINDS:
            return 1
        return narrowed(self.width_multiple, size) if self.is_automatic else self.width_multiple

    def halved(self) -> Multiples:
        """Half of it, where it was not asked for."""
        return Multiples(max(1, self.width_multiple // 2), True) if self.is_automatic else self

    def finer(self) -> list[int]:
        """What ``width_multiple`` may come down to, half by half; nothing where it was asked for, or is one."""
        halves = range(1, self.width_multiple.bit_length()) if self.is_automatic else ()
        return [self.width_multiple >> half for half in halves]


def narrowed(multiple: int, size: int) -> int:
    """A half, a quarter ... of ``multiple`` for a group of few units.

    A group must have two steps at least, or the first layers of a small network could not shrink at all.
    """
    while multiple > 1 and size < 2 * multiple:
        multiple //= 2
    return multiple
