"""The sequence: load, find, decide, rewrite, validate, repair, train, measure, write. The command and the API both end here."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import graphprune
from graphprune import outputs
from graphprune import passes as registry
from graphprune.anatomy import Anatomy
from graphprune.bench.ort import measure
from graphprune.bench.runtime import Measurement
from graphprune.bench.verdict import refuse_slower
from graphprune.contract import Context, Pass, parse_spec
from graphprune.data import load_data
from graphprune.errors import OptionError, PlanError, TargetNotReached
from graphprune.evaluate import Evaluation, evaluate
from graphprune.evidence import Report
from graphprune.execute import execute
from graphprune.latency.clock import settled
from graphprune.latency.search import LatencySearch
from graphprune.model import to_proto
from graphprune.plan import Decision, Plan
from graphprune.repair.stage import parse_methods
from graphprune.report.result import Result
from graphprune.rounds import Rounds, repairs
from graphprune.subject import CHECKS_ONLY_NOTE, NO_DATA_NOTE, RunOptions, Source, Subject, prepare
from graphprune.target import Target
from graphprune.torch_bridge.given import is_module, proto_of
from graphprune.workers import Workers, hired

DEFAULT_TARGET = Target("flops", 0.8)
_UNDECIDED_SECONDS = 2.0  # of timing at least, before a result is refused for being no faster
_STEP_SECONDS = 0.5  # of timing at most after each step of a trajectory

if TYPE_CHECKING:
    from torch import nn

Save = Callable[[Result], None]
"""Writes what belongs to the model (plan, JSON) just before the model moves into place; if it fails, nothing stays."""


def prune(
    source: Source | nn.Module,
    passes: Sequence[Pass | str],
    data: Any = None,
    target: Target | str | None = None,
    output: str | os.PathLike[str] | None = None,
    *,
    dry_run: bool = False,
    options: RunOptions | None = None,
    save: Save | None = None,
    example: Any = None,
) -> Result:
    """Prune a model; the same as ``graphprune SOURCE --pass ... --data ... --target ... -o OUTPUT``.

    ``source`` may be a ``torch.nn.Module``: it is exported as it is called with ``example`` (a tensor, a tuple, a dict by
    argument; default: the first samples of ``data``), and ``result.module()`` is the pruned one. The module given is not touched.
    Without ``output`` nothing stays on disk and ``result.model`` holds the model; with ``dry_run`` the decision is all.

    Raises
    ------
    GraphpruneError
        One of its subclasses; see :mod:`graphprune.errors`. No output file is left behind.
    """
    started = time.perf_counter()
    options = options or RunOptions()
    chosen = [parse_spec(p, registry.find) if isinstance(p, str) else p for p in passes]
    if not chosen:
        raise OptionError("no pass was given", f"add --pass NAME; the passes are: {', '.join(registry.names())}")
    wanted = _wanted(target, chosen)
    given = proto_of(source, example, data) if is_module(source) else source
    out = outputs.output_path(output, given, data, options.evaluation)
    report = Report(options, "prune", source=source, passes=list(map(str, chosen)), data=data, target=str(wanted),
                    output=out, dry_run=dry_run)  # fmt: skip
    subject = prepare(given, data, options)
    outputs.spare_weights(out, subject.model)
    if options.finetune is not None and options.training_data is None:
        options = replace(options, training_data=_training_data(data))
    rounds = Rounds(subject, options)
    search = LatencySearch.of(wanted, subject, options) if wanted.kind == "latency" else None
    with hired(options.jobs, options.backend, options.cluster) as workers:
        decisions, small = _decide(subject, chosen, wanted, options, rounds, workers, search, dry_run=dry_run)
    dense, after = subject.anatomy.cost, small.cost
    removed = sum(decision.removed_count for decision in decisions)
    considered = sum(decision.considered for decision in decisions)
    plan = Plan(
        model_sha256=subject.model.sha256,
        decisions=tuple(decisions),
        asked=str(wanted),
        reached=search.reached if search else wanted.reached(dense, after, removed, considered),
        repair=repairs(options, subject.data),
        seed=options.seed,
        data={"kind": subject.data.kind, "origin": subject.data.origin, "limit": subject.data.limit},
        tool=f"graphprune {graphprune.__version__}",
    )
    if not (search.is_met if search else wanted.is_met(dense, after, removed, considered)):
        limits = "; ".join(dict.fromkeys(decision.limit for decision in decisions if decision.limit))
        limits = limits or f"{plan.reached:.4g} is where the passes ended"
        raise TargetNotReached(f"the target {wanted} cannot be reached: {limits}", "ask for less, or relax the rules")
    is_default = target is None and wanted is DEFAULT_TARGET
    told = subject.notes if any(each.needs_data for each in chosen) else _relaxed(subject.notes)
    notes = (*told, *((f"no target was given: {wanted}",) if is_default else ()))
    told_by = (
        *(search.notes if search else ()),
        *(note for decision in decisions for note in decision.notes),
        *(workers.notes if workers else ()),
    )
    notes = tuple(dict.fromkeys((*notes, *told_by)))
    result = _result(source, subject, plan, small, notes)
    if dry_run:
        result = replace(result, seconds=time.perf_counter() - started)
        with report.written() as write_report:
            write_report(result, subject, small)
            if save is not None:
                save(result)
        return result
    return _finish(result, subject, rounds, small, out, options, started, save, report)


def apply(
    source: Source,
    plan: Plan | str | os.PathLike[str],
    data: Any = None,
    output: str | os.PathLike[str] | None = None,
    *,
    allow_other_model: bool = False,
    options: RunOptions | None = None,
    save: Save | None = None,
) -> Result:
    """Make the smaller model a plan describes; validated and measured like :func:`prune`.

    ``allow_other_model`` accepts a file with another hash (the fp16 export, say) whose blocks have the same names.

    Raises
    ------
    PlanError
        The plan was made for another model, or names a block this model does not have.
    """
    started = time.perf_counter()
    options = options or RunOptions()
    out = outputs.output_path(output, source, data, options.evaluation, plan)
    report = Report(options, "apply", source=source, plan=plan, data=data, output=out,
                    allow_other_model=allow_other_model)  # fmt: skip
    plan = plan if isinstance(plan, Plan) else Plan.load(Path(plan))
    subject = prepare(source, data, options)
    outputs.spare_weights(out, subject.model)
    mine, theirs = subject.model.sha256, plan.model_sha256
    if mine != theirs and not allow_other_model:
        raise PlanError(
            f"the plan was made for another model (sha256 {theirs[:12]}..., this one is {mine[:12]}...)",
            "give that model, or --allow-other-model for another export of the same network",
        )
    if options.repair is None and subject.data.kind != "synthetic":
        options = replace(options, repair=parse_methods(",".join(plan.repair) or "none"))
    if options.finetune is not None and options.training_data is None:
        options = replace(options, training_data=_training_data(data))
    rounds = Rounds(subject, options)
    small = subject.anatomy
    for decision in plan.decisions:
        small = execute(small, decision, rounds.fresh, subject.feeds, options.runtime)
    result = _result(source, subject, plan, small, subject.notes)
    return _finish(result, subject, rounds, small, out, options, started, save, report)


def _wanted(target: Target | str | None, passes: Sequence[Pass]) -> Target:
    """The target; where none was given the ratio that all passes have, or the default."""
    if target is not None:
        return target if isinstance(target, Target) else Target.parse(target)
    ratios = {getattr(each, "ratio", None) for each in passes}
    if len(ratios) > 1:
        raise OptionError(
            "the passes have different ratios and there is no target",
            "add --target; a ratio is then the most that its pass may take",
        )
    ratio = ratios.pop()
    return DEFAULT_TARGET if ratio is None else Target("ratio", ratio)


def _decide(
    subject: Subject,
    passes: Sequence[Pass],
    target: Target,
    options: RunOptions,
    rounds: Rounds,
    workers: Workers | None,
    search: LatencySearch | None,
    *,
    dry_run: bool,
) -> tuple[list[Decision], Anatomy]:
    """Run the passes in turn, each on what the one before left; with training, a round ends before the next begins."""
    small = subject.anatomy
    decisions: list[Decision] = []
    if options.align != "auto" and options.align < 1:
        raise OptionError(f"widths cannot be kept in multiples of {options.align}", "give align=1 or more, or auto")
    trains = options.finetune is not None and not dry_run
    in_rounds = trains and options.finetune_every == "removal"
    if in_rounds and target.kind == "ratio":
        raise OptionError(
            "a ratio cannot be the target of training after every removal", "give flops=, params= or removed="
        )
    for each in passes:
        while True:
            if trains and rounds.fresh:
                small = rounds.close(small)
            considered = [earlier.considered for earlier in decisions]
            context = Context(
                anatomy=small,
                data=subject.data,
                target=target,
                dense=subject.anatomy.cost,
                now=small.cost,
                removed_before=sum(earlier.removed_count for earlier in decisions),
                considered_before=sum(considered),
                is_last=each is passes[-1],
                in_rounds=in_rounds,
                origin=subject.model,
                steps=rounds.steps,
                is_repaired=not rounds.fresh,
                repairs=repairs(options, subject.data),
                seed=options.seed,
                batch=options.batch,
                align=options.align,
                cache_dir=options.cache_folder,
                options=options.runtime,
                progress=options.progress,
                workers=workers,
                bench_batch=options.bench_batch,
            )
            for decision in search.steps(each, context) if search else each.steps(context):
                small = execute(small, decision, rounds.fresh, subject.feeds, options.runtime)
                if decision.trajectory and options.measure_latency and not dry_run:
                    decision = _timed(decision, subject, small, options)
                decisions.append(decision)
            is_done = search is not None or context.is_met(small.cost, decision.removed_count, decision.considered)
            if is_done or not in_rounds or decision.limit or not decision.removed_count:
                break
    return decisions, small


def _timed(decision: Decision, subject: Subject, small: Anatomy, options: RunOptions) -> Decision:
    """The last step of ``decision`` with its time, measured against the dense network."""
    feeds, model = subject.data.first(options.bench_batch), subject.model
    seconds = min(options.bench_seconds, _STEP_SECONDS)
    timing = measure(
        model.source, to_proto(small.model), feeds, options.runtime, folder=model.folder, min_seconds=seconds
    )
    *earlier, last = decision.trajectory
    return replace(decision, trajectory=(*earlier, replace(last, latency_ratio=timing.comparison.ratio)))


def _training_data(data: Any) -> Any:
    """The calibration data serve for training, too, all of them."""
    if data is None:
        raise OptionError("training needs samples, and there are none", "add --data or --train-data")
    return data


def _relaxed(notes: tuple[str, ...]) -> tuple[str, ...]:
    """The warning for passes whose scores do not come from the data."""
    return tuple(CHECKS_ONLY_NOTE if note == NO_DATA_NOTE else note for note in notes)


def _result(source: Source | nn.Module, subject: Subject, plan: Plan, small: Anatomy, notes: tuple[str, ...]) -> Result:
    return Result(
        source=os.fspath(source) if isinstance(source, str | os.PathLike) else f"a {type(source).__name__}",
        output=None,
        plan=plan,
        before=replace(subject.anatomy.cost, bytes=subject.file_bytes),
        after=small.cost,
        blocks_before=len(subject.blocks),
        notes=notes,
        model=small.model,
    )


def _finish(result: Result, subject: Subject, rounds: Rounds, small: Anatomy, out: Path | None,
            options: RunOptions, started: float, save: Save | None, report: Report) -> Result:  # fmt: skip
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

    with outputs.place(out) as written, report.written() as write_report:
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
