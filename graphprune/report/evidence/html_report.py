"""What a report shows beyond the result, gathered from the two networks when a report is asked for,
and the report itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from graphprune.analysis.model_analysis import ModelAnalysis
from graphprune.base import extras
from graphprune.errors import InputError
from graphprune.ir import output_files
from graphprune.report.evidence.command import facts, python_call, typed
from graphprune.report.evidence.parts import model_parts
from graphprune.report.evidence.similarity import gather_similarity
from graphprune.report.evidence.strip import gather_strip
from graphprune.report.evidence.units import block_rows, group_rows
from graphprune.report.html.page import render
from graphprune.report.html.pictures import ReportData, Similarity
from graphprune.report.result import Result
from graphprune.run.loaded import LoadedRun
from graphprune.run.options import RunOptions


class Write(Protocol):
    """Writes the report of a loaded model that a run left with a smaller analysis. ``again``: from a result that was
    read, so that nothing is timed, and nothing compared on made-up inputs.
    """

    def __call__(self, result: Result, loaded: LoadedRun, small: ModelAnalysis, *, again: bool = False) -> None: ...


class HtmlReport:
    """The HTML report of one call of ``graphprune.prune`` or ``apply``, if its options ask for one."""

    def __init__(self, options: RunOptions, function: str, **arguments: Any) -> None:
        """Refuse at once what would fail at the end; ``arguments`` are those of the call.

        Raises
        ------
        RuntimeMissing
            Jinja2 or Matplotlib is not installed.
        InputError
            The report cannot be written there, or would replace something that the run reads or writes.
        """
        self._path = None if options.report is None else Path(options.report)
        self._function, self._arguments, self._options = function, arguments, options
        if self._path is None:
            return
        extras.jinja2()
        extras.matplotlib()
        out = arguments.get("output")
        reads = [value for name, value in arguments.items() if name != "output"]
        output_files.output_path(self._path, *reads, options.data.evaluation)
        if out is not None and self._path.resolve() == Path(out).resolve():
            raise InputError(f"the model and the report are both to be {self._path}", "choose another --report")

    @contextmanager
    def written(self) -> Iterator[Write]:
        """What is written within the block moves into place when that ends well."""
        with output_files.aside(self._path) as path:

            def write(result: Result, loaded: LoadedRun, small: ModelAnalysis, *, again: bool = False) -> None:
                if path is not None:
                    self._write(path, result, loaded, small, again=again)

            yield write

    def _write(self, path: Path, result: Result, loaded: LoadedRun, small: ModelAnalysis, *, again: bool) -> None:
        pictures = self._gather(result, loaded, small, again=again)
        self._options.progress("drawing the report", 0, 0)
        try:
            path.write_text(render(result, pictures), encoding="utf-8")
        except OSError as error:
            message = f"cannot write the report {path.name}: {error.strerror}"
            raise InputError(message, "free space or choose another --report") from None

    def _gather(self, result: Result, loaded: LoadedRun, small: ModelAnalysis, *, again: bool) -> ReportData:
        """Time the parts (unless the run was not timed), compare the blocks, tell what became of every unit."""
        plan, options, times = result.plan, self._options, result.measurement
        parts = model_parts(loaded.analysis)
        gone = frozenset(block.join for block in plan.blocks if not block.is_linearised)
        ratio = None if times is None or again else times.comparison.ratio
        is_compared = not again or loaded.data.kind != "synthetic"
        about = facts(result, loaded, options)
        if again:
            about["data"] = f"{plan.data.get('origin')} ({plan.data.get('kind')})"
        return ReportData(
            strip=gather_strip(loaded, parts, small, options, ratio),
            similarity=gather_similarity(loaded, gone, options) if gone and is_compared else Similarity(),
            blocks=block_rows(loaded.analysis, parts, plan),
            groups=group_rows(loaded.analysis, plan),
            facts=about,
            command=typed(options) if options.command else python_call(self._function, self._arguments, options),
            language="console" if options.command else "python",
        )
