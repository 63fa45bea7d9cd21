"""The order of the work: load, decide, rewrite, prove, time, repair, heal, train, evaluate, write."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from graphprune.analysis.cost import Cost
from graphprune.analysis.model_analysis import ModelAnalysis
from graphprune.base import extras
from graphprune.errors import OptionError
from graphprune.ir import output_files
from graphprune.latency.clock import settled, value_of
from graphprune.latency.phases import phase_time
from graphprune.model_folder.writing import complete
from graphprune.pipeline.job import Job
from graphprune.pipeline.measured import budgeted, evaluated, timed
from graphprune.pipeline.quantise import check_quantisable, int8_path, quantised
from graphprune.pipeline.rounds import Rounds
from graphprune.plan.plan import Plan
from graphprune.plan.target import GENERATION, Target
from graphprune.repair import matrices
from graphprune.report.evidence.html_report import Write
from graphprune.report.result import Result
from graphprune.run import samples
from graphprune.run.batch import fitting_batch
from graphprune.run.loaded import LoadedRun, prepare
from graphprune.run.notes import Note, NoteKind, loss_notes, notes_of, texts_of, time_notes
from graphprune.run.options import RunOptions
from graphprune.runtime.blas import blas_threads, threads_for
from graphprune.runtime.plugins import require_operators


@dataclass(frozen=True)
class Decided:
    """What goes (``plan``), the network without it, and what the user must know.

    ``latency`` is the target, if it was one of time: on that the written file has the last word.
    """

    plan: Plan
    small: ModelAnalysis
    notes: tuple[Note, ...]
    latency: Target | None


class Decider(Protocol):
    """Who says what goes: passes, or a plan that is there already."""

    def options(self, loaded: LoadedRun, options: RunOptions) -> RunOptions:
        """The options of the run, now that its model is known; refuses a model that is not the right one."""
        ...

    def decide(self, loaded: LoadedRun, rounds: Rounds, options: RunOptions) -> Decided:
        """Decide, and carry out each decision as it is made."""
        ...


def carry_out(job: Job, decider: Decider, loaded: LoadedRun | None = None) -> Result:
    """Load, decide and rewrite, prove, time, repair, heal, train, evaluate, time and write, in this order.

    ``loaded`` is the network with its data where an earlier run has them. Nothing is in place before all is well.
    Training changes no time: what it would be wasted on is refused before.
    """
    loaded = loaded or prepare(job.model, job.data, job.options)
    threads = threads_for(matrices.widest(loaded.model), job.options.runtime.thread_count)
    with blas_threads(threads):  # left to itself it takes every core, and they wait busily between two products
        return _carried_out(job, decider, loaded)


def _carried_out(job: Job, decider: Decider, loaded: LoadedRun) -> Result:
    if job.folder is None:
        output_files.spare_weights(job.output, loaded.model)
    options = decider.options(loaded, _with_training_data(job.options, job.data))
    options = _with_samples_to_heal(options, job.data)  # which a plan may ask for
    options = replace(options, batch=fitting_batch(loaded.analysis, options.batch))
    if not job.dry_run:
        require_operators(loaded.model, options.runtime)
    if options.quantise is not None:
        check_quantisable(loaded)
        if job.output is not None:
            output_files.output_path(int8_path(job.output), job.given, job.data, options.data.evaluation)
    rounds = Rounds(loaded, options)
    decided = decider.decide(loaded, rounds, options)
    small, result = decided.small, _result_of(job, loaded, decided)
    if job.dry_run:
        result = replace(result, seconds=job.seconds)
        with job.report.written() as write_report:
            _write(job, result, loaded, small, write_report)
        return result
    held_out = samples.held_out(job.data, loaded.model, loaded.data.batching, options)
    with job.place() as path, job.report.written() as write_report:
        rounds.prove(small, path)
        if options.timing.measure_latency and (options.recovery.finetune or options.recovery.healing):
            timed(path, loaded, result, options)
        if rounds.recovers:
            result = replace(result, unrepaired=evaluated(path, loaded, held_out, options))
            repaired = rounds.repaired(small)
            trained = rounds.trained(rounds.healed(repaired))
            rounds.end(small, trained, path)
            small = trained
        result = replace(_with_rounds(result, rounds), model=small.model)
        result = budgeted(path, loaded, held_out, options, replace(result, after=_with_bytes(result, path)))
        if options.timing.measure_latency:
            result = _settled(timed(path, loaded, result, options), decided.latency)
        result = _with_warnings(result)
        if options.quantise is not None:
            result = quantised(path, loaded, held_out, options, replace(result, output=job.output))
        if job.folder is not None and job.output is not None:
            notes = complete(path, job.folder, loaded.model, small.model)
            result = replace(result, notes=(*result.notes, *texts_of(notes_of(NoteKind.FOLDER, notes))))
        result = replace(result, output=job.output, seconds=job.seconds)
        _write(job, result, loaded, small, write_report)
    rounds.sweep()
    return result


def _with_training_data(options: RunOptions, data: Any) -> RunOptions:
    """The calibration data serve for training, too, all of them, where there are no others."""
    recovery = options.recovery
    if recovery.finetune is None or recovery.training_data is not None:
        return options
    if data is None:
        raise OptionError("training needs samples, and there are none", "add --data or --train-data")
    return replace(options, recovery=replace(recovery, training_data=data))


def _with_samples_to_heal(options: RunOptions, data: Any) -> RunOptions:
    """The same for healing."""
    recovery = options.recovery
    if recovery.healing is None:
        return options
    extras.torch()  # what is missing is said before the work
    if recovery.heal_data is not None:
        return options
    if data is None:
        raise OptionError("healing needs samples, and there are none", "add --data or --heal-data")
    return replace(options, recovery=replace(recovery, heal_data=data))


def _result_of(job: Job, loaded: LoadedRun, decided: Decided) -> Result:
    """What is known before anything is written."""
    return Result(
        source=job.source,
        output=None,
        plan=decided.plan,
        before=replace(loaded.analysis.cost, bytes=loaded.file_bytes),
        after=decided.small.cost,
        blocks_before=len(loaded.blocks),
        notes=texts_of(decided.notes),
        model=decided.small.model,
    )


def _with_rounds(result: Result, rounds: Rounds) -> Result:
    return replace(result, validation=rounds.validation, repair=rounds.repair, training=tuple(rounds.training))


def _with_bytes(result: Result, path: Path) -> Cost:
    """The cost with the size of the written file and of its data, which are alone in their folder."""
    return replace(result.after, bytes=sum(file.stat().st_size for file in path.parent.iterdir()))


def _settled(result: Result, latency: Target | None) -> Result:
    """A ``result`` that was timed, with the last word on a target of time."""
    if latency is None:
        return result
    assert result.measurement is not None
    time = value_of(latency, result.measurement)
    if latency.kind in GENERATION:
        assert result.generation is not None
        time = phase_time(latency, result.generation)
    plan, notes = settled(latency, result.plan, time)
    return replace(result, plan=plan, notes=(*result.notes, *texts_of(notes)))


def _with_warnings(result: Result) -> Result:
    """What figures of the written file are a warning; a loss that the user set the limit of is none."""
    notes: tuple[Note, ...] = ()
    if result.evaluation is not None and not result.plan.budget:
        notes += loss_notes(result.evaluation)
    if result.measurement is not None and result.generation is None:
        notes += time_notes(result.measurement)
    return replace(result, notes=(*result.notes, *texts_of(notes)))


def _write(job: Job, result: Result, loaded: LoadedRun, small: ModelAnalysis, write_report: Write) -> None:
    """The report, and what belongs to the model: if one fails, nothing stays."""
    write_report(result, loaded, small)
    if job.save is not None:
        job.save(result)
