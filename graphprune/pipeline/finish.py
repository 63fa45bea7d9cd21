"""The result written to a hidden place, proved, repaired, trained, timed, and moved into place."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphprune.analysis.model_analysis import ModelAnalysis
from graphprune.bench.ort import measure
from graphprune.bench.runtime import Measurement
from graphprune.bench.verdict import refuse_slower
from graphprune.data.dataset import load_data
from graphprune.errors import OptionError
from graphprune.evaluation.accuracy import Evaluation, evaluate
from graphprune.ir import output_files
from graphprune.latency.clock import settled
from graphprune.pipeline.rounds import Rounds
from graphprune.plan.plan import Plan
from graphprune.report.evidence.html_report import HtmlReport
from graphprune.report.result import Result
from graphprune.run.loaded import LoadedRun, Source
from graphprune.run.options import RunOptions

if TYPE_CHECKING:
    from torch import nn
_UNDECIDED_SECONDS = 2.0  # of timing at least, before a result is refused for being no faster

Save = Callable[[Result], None]
"""Writes what belongs to the model (plan, JSON) just before the model moves into place; if it fails, nothing stays."""


def training_data(data: Any) -> Any:
    """The calibration data serve for training, too, all of them."""
    if data is None:
        raise OptionError("training needs samples, and there are none", "add --data or --train-data")
    return data


def result_of(
    source: Source | nn.Module, subject: LoadedRun, plan: Plan, small: ModelAnalysis, notes: tuple[str, ...]
) -> Result:
    """What is known before anything is written."""
    return Result(
        source=os.fspath(source) if isinstance(source, str | os.PathLike) else f"a {type(source).__name__}",
        output=None,
        plan=plan,
        before=replace(subject.analysis.cost, bytes=subject.file_bytes),
        after=small.cost,
        blocks_before=len(subject.blocks),
        notes=notes,
        model=small.model,
    )


def finish(result: Result, subject: LoadedRun, rounds: Rounds, small: ModelAnalysis, out: Path | None,
            options: RunOptions, started: float, save: Save | None, report: HtmlReport) -> Result:  # fmt: skip
    """Write to a hidden place, validate, repair, evaluate and measure that file, and only then move it into place."""
    original, folder, runtime = subject.model.source, subject.model.folder, options.runtime
    held_out = None if options.evaluation is None else load_data(options.evaluation, subject.model, None)

    def judge(path: Path) -> Evaluation | None:
        options.progress("evaluating", 0, 0)
        return evaluate(original, path, folder, held_out, options.batch, runtime) if held_out is not None else None

    def clock(path: Path) -> Measurement:
        options.progress("measuring", 0, 0)
        timing = measure(
            original, path, subject.data.first(options.bench_batch), runtime, folder=folder,
            min_seconds=options.bench_seconds,
            undecided_seconds=0.0 if options.allow_slower else max(_UNDECIDED_SECONDS, 5 * options.bench_seconds),
        )  # fmt: skip
        if not options.allow_slower:
            refuse_slower(
                timing,
                original,
                path,
                folder,
                result.plan,
                (result.before, result.after),
                runtime,
                options.cache_folder,
            )
        return timing

    def early(path: Path) -> None:
        """Training changes no time: what it would be wasted on is refused before."""
        if options.measure_latency and options.finetune is not None:
            clock(path)

    with output_files.place(out) as written, report.written() as write_report:
        better = rounds.close(small, judge, written, early)
        result = replace(
            result,
            validation=rounds.validation,
            repair=rounds.repair,
            training=tuple(rounds.training),
            unrepaired=rounds.unrepaired,
            evaluation=judge(written),
            model=better.model,
            after=replace(result.after, bytes=sum(file.stat().st_size for file in written.parent.iterdir())),
        )
        if options.measure_latency:
            timing = clock(written)
            result = replace(result, measurement=timing, **settled(result.plan, timing, result.notes))
        result = replace(result, output=out, seconds=time.perf_counter() - started)
        write_report(result, subject, better)
        if save is not None:
            save(result)
    rounds.sweep()
    return result
