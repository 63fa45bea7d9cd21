"""The sequence: load, find, decide, rewrite, validate, measure, write. The command and the API both end here."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import graphprune
from graphprune import model as models
from graphprune import passes as registry
from graphprune.anatomy import Anatomy
from graphprune.axes.algebra import Atom
from graphprune.bench.alignment import multiple_for
from graphprune.bench.ort import measure
from graphprune.contract import Context, Pass, parse_spec
from graphprune.data import load_data
from graphprune.errors import InputError, OptionError, PlanError, TargetNotReached
from graphprune.evaluate import evaluate
from graphprune.oracle import Removal
from graphprune.plan import Decision, Plan
from graphprune.report.result import Result
from graphprune.rewrite import remove_blocks, remove_units
from graphprune.structure.blocks import Block
from graphprune.subject import CHECKS_ONLY_NOTE, NO_DATA_NOTE, RunOptions, Source, Subject, look_at, prepare
from graphprune.target import Target
from graphprune.validate import validate

DEFAULT_TARGET = Target("flops", 0.8)

Save = Callable[[Result], None]
"""Writes what belongs to the model (plan, JSON) just before the model moves into place; if it fails, nothing stays."""


def prune(
    source: Source,
    passes: Sequence[Pass | str],
    data: Any = None,
    target: Target | str | None = None,
    output: str | os.PathLike[str] | None = None,
    *,
    dry_run: bool = False,
    options: RunOptions | None = None,
    save: Save | None = None,
) -> Result:
    """Prune a model; the same as ``graphprune SOURCE --pass ... --data ... --target ... -o OUTPUT``.

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
    out = _output_path(output, source, data, options.evaluation)
    subject = prepare(source, data, options)
    _spare_weights(out, subject)
    decisions, steps, small = _decide(subject, chosen, wanted, options)
    dense, after = subject.anatomy.cost, small.cost
    removed = sum(decision.removed_count for decision in decisions)
    considered = sum(decision.considered for decision in decisions)
    plan = Plan(
        model_sha256=subject.model.sha256,
        decisions=tuple(decisions),
        asked=str(wanted),
        reached=wanted.reached(dense, after, removed, considered),
        seed=options.seed,
        data={"kind": subject.data.kind, "origin": subject.data.origin, "limit": subject.data.limit},
        tool=f"graphprune {graphprune.__version__}",
    )
    if not wanted.is_met(dense, after, removed, considered):
        limits = "; ".join(dict.fromkeys(decision.limit for decision in decisions if decision.limit))
        limits = limits or f"{plan.reached:.4g} is where the passes ended"
        raise TargetNotReached(f"the target {wanted} cannot be reached: {limits}", "ask for less, or relax the rules")
    is_default = target is None and wanted is DEFAULT_TARGET
    told = subject.notes if any(each.needs_data for each in chosen) else _relaxed(subject.notes)
    notes = (*told, *((f"no target was given: {wanted}",) if is_default else ()))
    notes = (*notes, *(note for decision in decisions for note in decision.notes))
    result = _result(source, subject, plan, small, notes)
    if dry_run:
        result = replace(result, seconds=time.perf_counter() - started)
        if save is not None:
            save(result)
        return result
    return _finish(result, subject, steps, out, options, started, save)


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
    out = _output_path(output, source, data, options.evaluation, plan)
    plan = plan if isinstance(plan, Plan) else Plan.load(Path(plan))
    subject = prepare(source, data, options)
    _spare_weights(out, subject)
    mine, theirs = subject.model.sha256, plan.model_sha256
    if mine != theirs and not allow_other_model:
        raise PlanError(
            f"the plan was made for another model (sha256 {theirs[:12]}..., this one is {mine[:12]}...)",
            "give that model, or --allow-other-model for another export of the same network",
        )
    steps: list[Removal] = []
    small = subject.anatomy
    for decision in plan.decisions:
        small = _execute(small, decision, steps, subject, options)
    result = _result(source, subject, plan, small, subject.notes)
    return _finish(result, subject, steps, out, options, started, save)


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
    subject: Subject, passes: Sequence[Pass], target: Target, options: RunOptions
) -> tuple[list[Decision], list[Removal], Anatomy]:
    """Run the passes in turn, each on what the one before left."""
    small = subject.anatomy
    decisions: list[Decision] = []
    steps: list[Removal] = []
    align = multiple_for(options.runtime) if options.align == "auto" else options.align
    if align < 1:
        raise OptionError(f"widths cannot be kept in multiples of {align}", "give align=1 or more, or auto")
    for each in passes:
        decision = each.decide(
            Context(
                anatomy=small,
                data=subject.data,
                target=target,
                dense=subject.anatomy.cost,
                now=small.cost,
                removed_before=sum(earlier.removed_count for earlier in decisions),
                considered_before=sum(earlier.considered for earlier in decisions),
                is_last=each is passes[-1],
                seed=options.seed,
                batch=options.batch,
                align=align,
                align_is_auto=options.align == "auto",
                options=options.runtime,
                progress=options.progress,
            )
        )
        decisions.append(decision)
        small = _execute(small, decision, steps, subject, options)
    return decisions, steps, small


def _relaxed(notes: tuple[str, ...]) -> tuple[str, ...]:
    """The warning for passes whose scores do not come from the data."""
    return tuple(CHECKS_ONLY_NOTE if note == NO_DATA_NOTE else note for note in notes)


def _execute(
    anatomy: Anatomy, decision: Decision, steps: list[Removal], subject: Subject, options: RunOptions
) -> Anatomy:
    """Carry out one decision, note each step for the validation, and look at the result anew."""
    if decision.blocks:
        blocks = _planned_blocks(anatomy, decision)
        steps.append(Removal(anatomy.model, tuple(blocks)))
        anatomy = look_at(remove_blocks(anatomy.model, blocks), subject.feeds, options.runtime)
    if decision.units:
        kept = _planned_units(anatomy, decision)
        steps.append(Removal(anatomy.model, typing=anatomy.typing, kept=kept))
        small = remove_units(anatomy.model, anatomy.typing, kept)
        anatomy = look_at(small, subject.feeds, options.runtime)
    return anatomy


def _planned_blocks(anatomy: Anatomy, decision: Decision) -> list[Block]:
    """The blocks a decision names, as they lie in this model."""
    known = {join.node: join for join in anatomy.joins}
    blocks = []
    for planned in decision.blocks:
        join = known.get(planned.join)
        if join is None:
            raise PlanError(f"the plan removes {planned.name}, but there is no node '{planned.join}'", "check the plan")
        if join.block is None or join.block.exit != planned.exit:
            why = join.refusal.reason if join.refusal else f"it does not end at {planned.exit}"
            raise PlanError(
                f"the plan removes {planned.name}, which this model does not allow: {why}", "check the plan"
            )
        blocks.append(join.block)
    return blocks


def _planned_units(anatomy: Anatomy, decision: Decision) -> dict[Atom, np.ndarray]:
    """Which indices of which atoms stay, for the groups a decision names."""
    known = {group.name: group for group in anatomy.groups}
    kept: dict[Atom, np.ndarray] = {}
    for planned in decision.units:
        group = known.get(planned.group)
        if group is None or group.size != planned.size:
            what = "there is no such group" if group is None else f"it has {group.size} units here"
            raise PlanError(
                f"the plan removes units of {planned.group} ({planned.size} units), but {what}",
                "see graphprune inspect --groups for the groups of this model",
            )
        if group.freeze is not None:
            raise PlanError(
                f"the plan removes units of {planned.group}, which this model does not allow: {group.freeze.reason} "
                f"(node {group.freeze.node})",
                "check the plan",
            )
        kept[group.atom] = np.ones(group.size, dtype=bool)
        kept[group.atom][list(planned.removed)] = False
    return kept


def _result(source: Source, subject: Subject, plan: Plan, small: Anatomy, notes: tuple[str, ...]) -> Result:
    return Result(
        source="a ModelProto" if isinstance(source, onnx.ModelProto) else str(source),
        output=None,
        plan=plan,
        before=replace(subject.anatomy.cost, bytes=subject.file_bytes),
        after=small.cost,
        blocks_before=len(subject.blocks),
        notes=notes,
        model=small.model,
    )


def _finish(result: Result, subject: Subject, steps: list[Removal], out: Path | None, options: RunOptions, started: float,
            save: Save | None) -> Result:  # fmt: skip
    """Write to a hidden place, validate, evaluate and measure that file, and only then move it into place."""
    assert result.model is not None  # _result always sets it
    original, folder, runtime = subject.model.source, subject.model.folder, options.runtime
    with _place(out) as written:
        options.progress("writing", 0, 0)
        models.write(result.model, written)
        options.progress("validating", 0, 0)
        result = replace(
            result,
            validation=validate(steps or [Removal(subject.model)], written, subject.data, options.batch, runtime),
            after=replace(result.after, bytes=sum(file.stat().st_size for file in written.parent.iterdir())),
        )
        if options.evaluation is not None:
            options.progress("evaluating", 0, 0)
            held_out = load_data(options.evaluation, subject.model, None)
            result = replace(result, evaluation=evaluate(original, written, folder, held_out, options.batch, runtime))
        if options.measure_latency:
            options.progress("measuring", 0, 0)
            feeds = subject.data.first(options.bench_batch)
            timing = measure(original, written, feeds, runtime, folder=folder, min_seconds=options.bench_seconds)
            result = replace(result, measurement=timing)
        result = replace(result, output=out, seconds=time.perf_counter() - started)
        if save is not None:
            save(result)
    return result


@contextmanager
def _place(out: Path | None) -> Iterator[Path]:
    """Where to write: beside ``out`` until all is well, or a temporary folder when nothing is to stay."""
    if out is not None:
        with models.staged(out) as staged:
            yield staged
    else:
        with tempfile.TemporaryDirectory(prefix="graphprune-") as folder:
            yield Path(folder) / "model.onnx"


def _output_path(output: str | os.PathLike[str] | None, *reads: Any) -> Path | None:
    """The output as a path, refused if it cannot be written or is one of the files that the run reads."""
    if output is None:
        return None
    out = Path(output)
    models.check_output(out, source_files(*reads))
    if out.exists() and not out.is_file():
        raise InputError(f"the output {out} is not a regular file", "choose another -o")
    return out


def source_files(*sources: Any) -> list[Path]:
    """The files behind those sources that are paths; ``script.py:function`` is the script."""
    texts = [os.fspath(source) for source in sources if isinstance(source, str | os.PathLike)]
    return [Path(text.rpartition(":")[0] if ".py:" in text else text) for text in texts]


def _spare_weights(out: Path | None, subject: Subject) -> None:
    """Refuse to write over the data files of the model; only a loaded model tells where they are."""
    if out is not None:
        for path in (out, out.with_name(out.name + ".data")):
            models.check_output(path, subject.model.files)
