"""Between the commands and the API: options in, tables, JSON and progress out."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from graphprune.cli.image_options import image_settings
from graphprune.cli.json_output import write_json
from graphprune.cli.progress_lines import ProgressLines
from graphprune.cli.text_options import text_settings
from graphprune.errors import InputError
from graphprune.ir import output_files
from graphprune.ir.output_files import check_output, source_files, staged
from graphprune.model_folder import layout, writing
from graphprune.pipeline.between import Dump, trace
from graphprune.report import terminal
from graphprune.report.bench_table import print_measurements
from graphprune.report.candidates_table import print_candidates
from graphprune.report.generation_table import print_generation
from graphprune.report.group_svg import group_svg
from graphprune.report.group_table import print_groups
from graphprune.report.result_file import BenchFile, GenerationFile
from graphprune.run.options import Between, DataOptions, RecoveryOptions, RunOptions, TimingOptions, WorkerOptions
from graphprune.runtime.sessions import RuntimeOptions
from graphprune.text.corpus import is_text

if TYPE_CHECKING:
    from graphprune.generation.measure import GenerationMeasurement
    from graphprune.measure.runtime import Measurement
    from graphprune.report.candidates import CandidatesFile
    from graphprune.report.inspection import GroupInspection, Inspection
    from graphprune.report.result import Result


_TEXT_BATCH = 2
"""Chunks of text in a run: the scores of 512 tokens may take 100 MB."""


class Shown:
    """Where output goes: results to stdout (or, when JSON has stdout, to stderr), progress to stderr: a bar on a
    terminal, else a line now and then.
    """

    def __init__(self, json_path: Path | None, quiet: bool) -> None:
        self._json_path = json_path
        self._quiet = quiet
        self._out = Console(stderr=str(json_path) == "-", highlight=False, soft_wrap=False)
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(20),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        is_watched = sys.stderr.isatty()
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet or not is_watched)
        self._lines = None if quiet or is_watched else ProgressLines(sys.stderr.write)
        self._task: TaskID | None = None
        self._text = ""

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def progress(self, task: str, done: int, total: int, /) -> None:
        """Show what is being done; a new task starts a new line."""
        if self._lines is not None:
            self._lines.progress(task, done, total)
        if task != self._text or self._task is None:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task, self._text = self._bar.add_task(task, total=total or None), task
        self._bar.update(self._task, completed=done)

    def result(self, result: Result, verbose: bool, report: Path | None = None) -> None:
        """The tables, and the name of the report that was written."""
        self._notes(result.notes)
        terminal.print_result(self._out, result, verbose=verbose)
        if report is not None:
            self._out.print(f"wrote {escape(str(report))}", soft_wrap=True)

    def save(self, result: Result) -> None:
        """Write the JSON file."""
        self._write_json(result.to_json)

    def _notes(self, notes: tuple[str, ...]) -> None:
        if not self._quiet:
            terminal.print_notes(Console(stderr=True, highlight=False), notes)

    def inspection(self, inspection: Inspection, verbose: bool) -> None:
        """The table of joins."""
        self._write_json(inspection.to_json)
        self._notes(inspection.notes)
        terminal.print_inspection(self._out, inspection, verbose)

    def groups(self, inspection: GroupInspection, drawing: Path | None, verbose: bool) -> None:
        """The table of groups, and their picture as an SVG file where one is asked for."""
        if drawing is not None:
            write_text(drawing, group_svg(inspection), "--graph")
        self._write_json(inspection.to_json)
        self._notes(inspection.notes)
        print_groups(self._out, inspection, verbose)
        if drawing is not None:
            self._out.print(f"wrote {escape(str(drawing))}", soft_wrap=True)

    def candidates(self, found: CandidatesFile, report: Path | None) -> None:
        """The table of several results."""
        self._write_json(found.to_json)
        print_candidates(self._out, found)
        if report is not None:
            self._out.print(f"wrote {escape(str(report))}", soft_wrap=True)

    def measurements(self, measurements: Sequence[Measurement], first: str, second: str) -> None:
        """One table of all runtimes; the JSON has a list of them."""
        self._write_json(BenchFile(first, second, tuple(measurements)).to_json)
        print_measurements(self._out, measurements, first, second)

    def generation(self, measurements: Sequence[GenerationMeasurement], first: str, second: str) -> None:
        """A table for each runtime; the JSON has a list of them."""
        self._write_json(GenerationFile(first, second, tuple(measurements)).to_json)
        print_generation(self._out, measurements, first, second)

    def _write_json(self, text: Callable[[], str]) -> None:
        if self._json_path is not None:
            write_json(self._json_path, text())


def write_text(path: Path, text: str, option: str) -> None:
    """Write a whole file or none.

    Raises
    ------
    InputError
        It cannot be written; ``option`` is what named it.
    """
    try:
        with staged(path) as stage:
            stage.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}", f"free space or choose another {option}") from None


def check_outputs(outputs: dict[str, Path | None], *reads: Any) -> None:
    """Refuse outputs (option -> path) that cannot be written, are read by this run, or are one another.

    Raises
    ------
    InputError
        As :func:`graphprune.ir.output_files.check_output`, or two options name one file.
    """
    given = {option: path for option, path in outputs.items() if path is not None and str(path) != "-"}
    seen: dict[Path, str] = {}
    for option, path in given.items():
        check_output(path, source_files(*reads))
        first = seen.setdefault(path.resolve(), option)
        if first != option:
            raise InputError(f"{first} and {option} both name {path}", f"choose another {option}")


def checked_output(
    output: str | None,
    model: Path,
    beside: dict[str, Path | None],
    *reads: Any,
    dry_run: bool = False,
    suffix: str = "pruned",
) -> Path:
    """Where the model that is made of ``model`` goes: a folder where that is one, else a file; with no ``output`` it is
    named after it, with ``suffix``. Checked with the outputs ``beside``.

    Raises
    ------
    InputError
        As :func:`check_outputs`; or an output lies in one of the folders.
    """
    if not layout.is_folder(model):
        out = output_files.named_output(output, model, suffix)
        check_outputs({"-o": None if dry_run else out, **beside}, model, *reads)
        return out
    out = writing.named_output(output, model, suffix)
    if not dry_run:
        writing.check_output(out, model)
    check_outputs(beside, model, *reads)
    for option, path in beside.items():
        for folder in (model, out):
            if path is not None and str(path) != "-" and path.resolve().is_relative_to(folder.resolve()):
                raise InputError(f"{option} {path} lies in the model's folder {folder}", f"choose another {option}")
    return out


def run_options(settings: dict[str, Any], evaluation: str | None, shown: Shown) -> RunOptions:
    """The shared command-line options as the API's options."""
    usual = _TEXT_BATCH if is_text(settings["data"]) else RunOptions.batch
    logging.basicConfig(level=logging.INFO if settings["verbose"] else logging.ERROR, stream=sys.stderr)
    return RunOptions(
        seed=settings["seed"],
        batch=settings["score_batch"] or usual,
        align=settings.get("align", "auto"),
        keep=settings.get("keep", ()),
        only=settings.get("only", ()),
        data=DataOptions(
            samples=settings["samples"] or "auto",
            evaluation=evaluation,
            metric=settings.get("metric"),
            batch_axes=dict(settings["batch_axes"]),
            shapes=dict(settings["shapes"]),
            ranges=dict(settings["ranges"]),
            require_data=settings["require_data"],
            allow_made_up=settings["allow_made_up"],
            text=text_settings(settings),
            images=image_settings(settings),
        ),
        timing=TimingOptions(
            batch=settings["batch"],
            seconds=settings["duration"],
            measure_latency=not settings["no_bench"],
            allow_slower=settings.get("allow_slower", False),
            cache_dir=settings.get("cache_dir"),
            use_cache=not settings.get("no_cache", False),
        ),
        recovery=RecoveryOptions(
            repair=settings.get("repair"),
            finetune=settings.get("finetune"),
            finetune_every=settings.get("finetune_every", "pass"),
            training_data=settings.get("train_data"),
            heal=settings.get("heal"),
            heal_data=settings.get("heal_data"),
        ),
        workers=WorkerOptions(settings.get("jobs"), settings.get("backend"), settings.get("cluster")),
        runtime=RuntimeOptions(settings["provider"], settings["threads"]),
        quantise=settings.get("quantise"),
        report=settings.get("report"),
        command=shlex.join(["graphprune", *sys.argv[1:]]),
        progress=shown.progress,
        between=_between(settings.get("dump_folder"), settings["verbose"]),
    )


def _between(dump_folder: Path | None, verbose: bool) -> tuple[Between, ...]:
    """With -v what each pass did is logged."""
    looks: tuple[Between, ...] = (trace,) if verbose else ()
    return looks if dump_folder is None else (*looks, Dump(dump_folder))
