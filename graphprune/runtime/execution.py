"""How samples are run through networks, whatever they are run for."""

from __future__ import annotations

from dataclasses import dataclass

from graphprune.base.progress import Progress, silent
from graphprune.runtime.sessions import RuntimeOptions
from graphprune.workers import Workers


@dataclass(frozen=True)
class Execution:
    """``batch`` samples at once, on what ``runtime`` says; ``progress`` is told how far it is.

    ``workers`` may do a part of it; None = this process does it all.
    """

    batch: int
    runtime: RuntimeOptions
    progress: Progress = silent
    workers: Workers | None = None
