"""Progress where nobody watches a bar: in the log of a job, a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable

EVERY_SECONDS = 30.0


class ProgressLines:
    """Tells what is being done, how far it is and how long the rest will take: first after ``EVERY_SECONDS``, then no
    more often than that, so that short runs stay silent.
    """

    def __init__(self, write: Callable[[str], object], clock: Callable[[], float] = time.monotonic) -> None:
        self._write, self._clock = write, clock
        self._told = clock()
        self._task, self._begun, self._first = "", self._told, 0

    def progress(self, task: str, done: int, total: int, /) -> None:
        """``done`` of ``total`` parts of ``task``; a ``total`` of 0 is not known."""
        now = self._clock()
        if task != self._task:
            self._task, self._begun, self._first = task, now, done
        if now - self._told < EVERY_SECONDS:
            return
        self._told = now
        text = f"{task}, {done} of {total}" if total else task
        if self._first < done < total:
            left = (now - self._begun) * (total - done) / (done - self._first)
            text += f", about {_in_words(left)} more"
        self._write(f"graphprune: {text}\n")


def _in_words(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
