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

import onnx

import graphprune
from graphprune import model as models
from graphprune import passes as registry
from graphprune.bench.ort import measure
from graphprune.contract import Context, Pass, parse_spec
from graphprune.cost import model_cost
from graphprune.data import load_data
from graphprune.errors import InputError, OptionError, PlanError, TargetNotReached
from graphprune.evaluate import evaluate
from graphprune.plan import Decision, Plan
from graphprune.report.result import Result
from graphprune.rewrite import remove_blocks
from graphprune.runtime.sizes import concrete_sizes
from graphprune.select import Target
from graphprune.structure.blocks import Block, Join, find_joins
from graphprune.subject import RunOptions, Source, Subject, prepare
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
    wanted = DEFAULT_TARGET if target is None else target if isinstance(target, Target) else Target.parse(target)
    chosen = [parse_spec(p, registry.find) if isinstance(p, str) else p for p in passes]
    if not chosen:
        raise OptionError("no pass was given", f"add --pass NAME; the passes are: {', '.join(registry.names())}")
    out = _output_path(output, source, data, options.evaluation)
    subject = prepare(source, data, options)
    _spare_weights(out, subject)
    decisions, small, after = _decide(subject, chosen, wanted, options)
    removed = sum(len(decision.blocks) for decision in decisions)
    plan = Plan(
        model_sha256=subject.model.sha256,
        decisions=tuple(decisions),
        asked=str(wanted),
        reached=wanted.reached(subject.cost, after, removed),
        seed=options.seed,
        data={"kind": subject.data.kind, "origin": subject.data.origin, "limit": subject.data.limit},
        tool=f"graphprune {graphprune.__version__}",
    )
    if not wanted.is_met(subject.cost, after, removed):
        limits = "; ".join(dict.fromkeys(decision.limit for decision in decisions if decision.limit))
        limits = limits or f"{plan.reached:.4g} is where the passes ended"
        raise TargetNotReached(f"the target {wanted} cannot be reached: {limits}", "ask for less, or relax the rules")
    notes = (*subject.notes, *(() if target else (f"no target was given: {wanted}",)))
    result = _result(source, subject, plan, small, after, notes)
    if dry_run:
        result = replace(result, seconds=time.perf_counter() - started)
        if save is not None:
            save(result)
        return result
    return _finish(result, subject, out, options, started, save)


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
    small, joins, sizes = subject.model, subject.joins, subject.sizes
    for decision in plan.decisions:
        small, sizes, joins = _execute(small, joins, decision, subject, options)
    after = model_cost(small, sizes)
    result = _result(source, subject, plan, small, after, subject.notes)
    return _finish(result, subject, out, options, started, save)


def _decide(
    subject: Subject, passes: Sequence[Pass], target: Target, options: RunOptions
) -> tuple[list[Decision], models.Model, Any]:
    """Run the passes in turn, each on what the one before left."""
    small, joins, sizes, now = subject.model, subject.joins, subject.sizes, subject.cost
    decisions: list[Decision] = []
    for each in passes:
        decision = each.decide(
            Context(
                model=small,
                joins=joins,
                sizes=sizes,
                data=subject.data,
                target=target,
                dense=subject.cost,
                now=now,
                removed_before=sum(len(earlier.blocks) for earlier in decisions),
                is_last=each is passes[-1],
                seed=options.seed,
                batch=options.batch,
                options=options.runtime,
                progress=options.progress,
            )
        )
        decisions.append(decision)
        small, sizes, joins = _execute(small, joins, decision, subject, options)
        now = model_cost(small, sizes)
    return decisions, small, now


def _execute(
    model: models.Model, joins: list[Join], decision: Decision, subject: Subject, options: RunOptions
) -> tuple[models.Model, dict[str, tuple[int, ...]], list[Join]]:
    """Carry out one decision, and look at the result anew."""
    known = {join.node: join for join in joins}
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
    small = remove_blocks(model, blocks) if blocks else model
    sizes = concrete_sizes(small, subject.feeds, options.runtime)
    return small, sizes, find_joins(small, sizes)


def _result(
    source: Source, subject: Subject, plan: Plan, small: models.Model, after: Any, notes: tuple[str, ...]
) -> Result:
    return Result(
        source="a ModelProto" if isinstance(source, onnx.ModelProto) else str(source),
        output=None,
        plan=plan,
        before=replace(subject.cost, bytes=subject.file_bytes),
        after=after,
        blocks_before=len(subject.blocks),
        notes=notes,
        model=small,
    )


def _finish(result: Result, subject: Subject, out: Path | None, options: RunOptions, started: float,
            save: Save | None) -> Result:  # fmt: skip
    """Write to a hidden place, validate, evaluate and measure that file, and only then move it into place."""
    assert result.model is not None  # _result always sets it
    original, folder, runtime = subject.model.source, subject.model.folder, options.runtime
    with _place(out) as written:
        options.progress("writing", 0, 0)
        models.write(result.model, written)
        options.progress("validating", 0, 0)
        blocks = _original_blocks(subject, result.plan)
        result = replace(
            result,
            validation=validate(subject.model, blocks, written, subject.data, options.batch, runtime),
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


def _original_blocks(subject: Subject, plan: Plan) -> list[Block]:
    """The plan's blocks as they lie in the original; later passes saw entries that earlier removals had moved."""
    by_join = {join.node: join.block for join in subject.joins}
    return [block for planned in plan.blocks if (block := by_join[planned.join]) is not None]


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
