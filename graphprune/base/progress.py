"""How long work tells how far it is."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called with what is being done, how many steps are done and how many there are (0 = not known)."""

    def __call__(self, task: str, done: int, total: int, /) -> None: ...


def headed(progress: Progress, head: str) -> Progress:
    """``progress``, with what all of it belongs to before each task."""

    def shown(task: str, done: int, total: int, /) -> None:
        progress(f"{head}: {task}", done, total)

    return shown


def silent(task: str, done: int, total: int, /) -> None:
    """No progress shown."""
