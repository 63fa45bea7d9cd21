"""One call of prune or apply, as a value."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphprune.ir.output_files import named_output
from graphprune.report.evidence.html_report import HtmlReport
from graphprune.report.result import Result
from graphprune.run.loaded import Source
from graphprune.run.options import RunOptions

if TYPE_CHECKING:
    from torch import nn

Save = Callable[[Result], None]
"""Writes what belongs to the model (plan, JSON) just before the model moves into place; if it fails, nothing stays."""


def pruned_file(output: str | os.PathLike[str] | None, source: Any) -> Path | None:
    """The file to write; in a folder that is named, the model's name with .pruned.onnx. None: nothing stays."""
    is_path = isinstance(source, str | os.PathLike)
    return None if output is None else named_output(output, Path(source if is_path else "model.onnx"), "pruned")


@dataclass(frozen=True)
class Job:
    """What is read, where the result goes, and how.

    ``given`` is what the user gave, ``model`` the same as something that can be loaded. ``started`` is a reading of
    ``time.perf_counter``.
    """

    given: Source | nn.Module
    model: Source
    data: Any
    output: Path | None
    options: RunOptions
    report: HtmlReport
    save: Save | None
    started: float
    dry_run: bool = False

    @property
    def seconds(self) -> float:
        """Since the call began."""
        return time.perf_counter() - self.started

    @property
    def source(self) -> str:
        """The model in words: its path, or what kind of object it is."""
        return os.fspath(self.given) if isinstance(self.given, str | os.PathLike) else f"a {type(self.given).__name__}"
