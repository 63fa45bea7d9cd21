"""The sequence: load, find, decide, rewrite, validate, write, evaluate, measure. The command and the API both end here."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

import graphprune
from graphprune import model as models
from graphprune import passes as registry
from graphprune.bench.ort import Measurement, measure
from graphprune.contract import Context, Pass, Progress, parse_spec
from graphprune.cost import Cost, model_cost
from graphprune.data import DEFAULT_SAMPLES, Data, load_data, synthetic
from graphprune.errors import DataError, NothingToPrune, OptionError, PlanError, TargetNotReached
from graphprune.evaluate import evaluate
from graphprune.plan import Decision, Plan
from graphprune.report.result import Result
from graphprune.rewrite import remove_blocks
from graphprune.runtime.sessions import Feeds, RuntimeOptions
from graphprune.runtime.sizes import concrete_sizes
from graphprune.select import Target
from graphprune.structure.blocks import Block, Join, find_joins
from graphprune.validate import Validation, validate

if TYPE_CHECKING:
    from collections.abc import Iterator

Source = str | os.PathLike[str] | onnx.ModelProto

DEFAULT_TARGET = Target("flops", 0.8)
_SYNTHETIC_SAMPLES = 64


def _silent(task: str, done: int, total: int, /) -> None:
    """No progress shown."""


@dataclass(frozen=True)
class RunOptions:
    """Everything about a run that is not the decision itself.

    ``batch`` is for scoring and validation, ``bench_batch`` for the timing; ``samples`` limits calibration; ``evaluation``
    is any data source; ``shapes`` and ``ranges`` shape synthetic inputs. ``measure_latency=False`` skips the timing.
    """

    seed: int = 0
    batch: int = 32
    bench_batch: int = 1
    bench_seconds: float = 2.0
    samples: int | None = DEFAULT_SAMPLES
    evaluation: Any = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    require_data: bool = False
    measure_latency: bool = True
    runtime: RuntimeOptions = field(default_factory=RuntimeOptions)
    progress: Progress = _silent


def prune(
    source: Source,
    passes: Sequence[Pass | str],
    data: Any = None,
    target: Target | str | None = None,
    output: str | os.PathLike[str] | None = None,
    *,
    dry_run: bool = False,
    options: RunOptions | None = None,
) -> Result:
    """Prune a model; the same as ``graphprune SOURCE --pass ... --data ... --target ... -o OUTPUT``.

    Without ``output`` nothing is kept on disk and ``result.model`` holds the model; with ``dry_run`` nothing is rewritten.

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
    out = _output_path(source, output)
    subject = _prepare(source, data, options)
    notes = list(subject.notes)
    if target is None:
        notes.append(f"no target was given: {wanted}")
    current, decisions, sizes, now = subject.model, [], subject.sizes, subject.cost
    joins = subject.joins
    for each in chosen:
        context = Context(
            model=current,
            joins=joins,
            sizes=sizes,
            data=subject.data,
            target=wanted,
            dense=subject.cost,
            now=now,
            removed_before=sum(len(decision.blocks) for decision in decisions),
            seed=options.seed,
            batch=options.batch,
            options=options.runtime,
            progress=options.progress,
        )
        decision = each.decide(context)
        decisions.append(decision)
        current, joins = _execute(current, joins, decision)
        sizes = concrete_sizes(current, subject.feeds, options.runtime)
        now = model_cost(current, sizes)
    removed = sum(len(decision.blocks) for decision in decisions)
    reached = wanted.reached(subject.cost, now, removed)
    if not wanted.is_met(subject.cost, now, removed):
        limits = "; ".join(dict.fromkeys(d.limit for d in decisions if d.limit)) or "the passes chose no more"
        raise TargetNotReached(
            f"the target {wanted} cannot be reached: {_most(subject, chosen, wanted)} ({limits})",
            "ask for less, or relax the pass's options (see graphprune passes)",
        )
    plan = Plan(
        model_sha256=subject.model.sha256,
        decisions=tuple(decisions),
        asked=str(wanted),
        reached=reached,
        seed=options.seed,
        data=_describe(subject.data),
        tool=f"graphprune {graphprune.__version__}",
    )
    result = Result(
        source=_source_text(source),
        output=None,
        plan=plan,
        before=subject.cost,
        after=now,
        blocks_before=len(subject.blocks),
        notes=tuple(notes),
        model=current,
    )
    if not dry_run:
        result = _finish(result, subject, out, options)
    return replace(result, seconds=time.perf_counter() - started)


def apply(
    source: Source,
    plan: Plan | str | os.PathLike[str],
    data: Any = None,
    output: str | os.PathLike[str] | None = None,
    *,
    allow_other_model: bool = False,
    options: RunOptions | None = None,
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
    plan = plan if isinstance(plan, Plan) else Plan.load(Path(plan))
    out = _output_path(source, output)
    subject = _prepare(source, data, options)
    if plan.model_sha256 != subject.model.sha256 and not allow_other_model:
        raise PlanError(
            f"the plan was made for another model (sha256 {plan.model_sha256[:12]}, this one {subject.model.sha256[:12]})",
            "give the model it was made for, or --allow-other-model for the same network in another export",
        )
    current, joins = subject.model, subject.joins
    for decision in plan.decisions:
        current, joins = _execute(current, joins, decision)
    after = model_cost(current, concrete_sizes(current, subject.feeds, options.runtime))
    result = Result(
        source=_source_text(source),
        output=None,
        plan=plan,
        before=subject.cost,
        after=after,
        blocks_before=len(subject.blocks),
        notes=subject.notes,
        model=current,
    )
    result = _finish(result, subject, out, options)
    return replace(result, seconds=time.perf_counter() - started)


@dataclass(frozen=True)
class Subject:
    """A loaded model with its data, sizes, cost and joins."""

    model: models.Model
    data: Data
    feeds: Feeds
    sizes: dict[str, tuple[int, ...]]
    cost: Cost
    joins: list[Join]
    notes: tuple[str, ...]

    @property
    def blocks(self) -> list[Block]:
        return [join.block for join in self.joins if join.block]


def _prepare(source: Source, data: Any, options: RunOptions) -> Subject:
    options.progress("loading", 0, 0)
    model = models.load(source)
    notes: list[str] = []
    if data is not None:
        bound = load_data(data, model, options.samples)
    elif options.require_data:
        raise DataError("no calibration data was given and --require-data is set", "add --data")
    else:
        bound = synthetic(model, options.seed, _SYNTHETIC_SAMPLES, options.shapes, options.ranges)
        notes.append("NO CALIBRATION DATA: scores and checks come from synthetic inputs and mean little; add --data")
    feeds = bound.first(1)
    sizes = concrete_sizes(model, feeds, options.runtime)
    joins = find_joins(model, sizes)
    return Subject(model, bound, feeds, sizes, model_cost(model, sizes), joins, tuple(notes))


def _execute(model: models.Model, joins: list[Join], decision: Decision) -> tuple[models.Model, list[Join]]:
    """Carry out one decision and look at the result anew."""
    blocks = _blocks_of(joins, decision)
    if not blocks:
        return model, joins
    small = remove_blocks(model, blocks)
    return small, find_joins(small)


def _blocks_of(joins: list[Join], decision: Decision) -> list[Block]:
    known = {join.node: join for join in joins}
    blocks = []
    for planned in decision.blocks:
        join = known.get(planned.join)
        if join is None:
            raise PlanError(
                f"the plan removes block {planned.name}, but the model has no node '{planned.join}'", "check both"
            )
        if join.block is None or join.block.exit != planned.exit:
            why = join.refusal.reason if join.refusal else f"it ends at {join.block.exit if join.block else '?'}"
            raise PlanError(
                f"the plan removes block {planned.name}, which this model does not allow: {why}", "check both"
            )
        blocks.append(join.block)
    return blocks


def _finish(result: Result, subject: Subject, out: Path | None, options: RunOptions) -> Result:
    """Write to a hidden place, validate there, move into place, then evaluate and measure."""
    assert result.model is not None
    blocks = _all_blocks(subject, result.plan)
    original = subject.model.source
    with _place(out) as staged:
        options.progress("writing", 0, 0)
        models.write(result.model, staged)
        options.progress("validating", 0, 0)
        validation = validate(subject.model, blocks, staged, subject.data, options.batch, options.runtime)
        written_bytes = sum(file.stat().st_size for file in staged.parent.iterdir())
        evaluation = None
        if options.evaluation is not None:
            options.progress("evaluating", 0, 0)
            held = load_data(options.evaluation, subject.model, None)
            evaluation = evaluate(original, staged, subject.model.folder, held, options.batch, options.runtime)
        measurement: Measurement | None = None
        if options.measure_latency:
            options.progress("measuring", 0, 0)
            feeds = subject.data.first(options.bench_batch)
            measurement = measure(
                original, staged, feeds, options.runtime, folder=subject.model.folder, min_seconds=options.bench_seconds
            )
    return replace(
        result,
        output=out,
        before=replace(subject.cost, bytes=_source_bytes(subject)),
        after=replace(result.after, bytes=written_bytes),
        validation=validation,
        evaluation=evaluation,
        measurement=measurement,
    )


def _all_blocks(subject: Subject, plan: Plan) -> list[Block]:
    """The plan's blocks as blocks of the original: later passes saw entries that earlier removals had moved."""
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


def _output_path(source: Source, output: str | os.PathLike[str] | None) -> Path | None:
    if output is None:
        return None
    out = Path(output)
    models.check_output(out, [] if isinstance(source, onnx.ModelProto) else [Path(source)])
    return out


def _most(subject: Subject, passes: list[Pass], target: Target) -> str:
    """How far the target's own quantity could go at most, for the message of a miss."""
    return f"{len(subject.blocks)} of the model's {len(subject.joins)} joins are removable"


def _source_bytes(subject: Subject) -> int:
    source = subject.model.source
    if isinstance(source, onnx.ModelProto) or subject.model.folder is not None:
        return subject.cost.bytes
    return Path(source).stat().st_size


def _source_text(source: Source) -> str:
    return "a ModelProto" if isinstance(source, onnx.ModelProto) else str(source)


def _describe(data: Data) -> dict[str, Any]:
    return {"kind": data.kind, "origin": data.origin, "samples": data.limit}
