"""One call of prune or apply, as a value."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphprune.errors import OptionError
from graphprune.ir import output_files
from graphprune.ir.output_files import named_output
from graphprune.model_folder import layout, writing
from graphprune.model_folder.layout import ModelFolder
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


def destination(output: str | os.PathLike[str] | None, source: Any, model: Any, *reads: Any) -> Path | None:
    """Where the result goes, refused if it cannot: a folder where ``source`` is one, else a file. None: nothing stays.

    ``model`` is what is loaded; ``reads`` are the other sources of the run.

    Raises
    ------
    OptionError
        It is no path.
    InputError
        Something is in its way.
    """
    if not isinstance(output, str | os.PathLike | None):
        raise OptionError(f"output is of type {type(output).__name__}", "give the path of the file to write")
    if not layout.is_folder(source):
        return output_files.output_path(pruned_file(output, source), model, *reads)
    if output is not None:
        writing.check_output(Path(output), Path(source))
    return None if output is None else Path(output)


@dataclass(frozen=True)
class Job:
    """What is read, where the result goes, and how.

    ``given`` is what the user gave, ``model`` the same as something that can be loaded; ``folder`` is that folder, if
    it is one. ``started`` is a reading of ``time.perf_counter``.
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
    folder: ModelFolder | None = None

    @contextmanager
    def place(self) -> Iterator[Path]:
        """Where to write the model: all that is beside it moves into place with it if the block ends well."""
        if self.folder is None or self.output is None:
            with output_files.place(self.output) as path:
                yield path
            return
        with writing.staged_folder(self.output) as stage:
            path = stage / self.folder.model
            path.parent.mkdir(parents=True, exist_ok=True)
            yield path

    @property
    def seconds(self) -> float:
        """Since the call began."""
        return time.perf_counter() - self.started

    @property
    def source(self) -> str:
        """The model in words: its path, or what kind of object it is."""
        return os.fspath(self.given) if isinstance(self.given, str | os.PathLike) else f"a {type(self.given).__name__}"
