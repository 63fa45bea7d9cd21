"""How long work tells how far it is."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called with what is being done, how many steps are done and how many there are (0 = not known)."""

    def __call__(self, task: str, done: int, total: int, /) -> None: ...


def silent(task: str, done: int, total: int, /) -> None:
    """No progress shown."""
