"""What is measured of a written file: how good the network is, and how fast."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx

from graphprune.data.dataset import Data
from graphprune.decoder.cache_sizes import cache_sizes
from graphprune.errors import TargetNotReached
from graphprune.evaluation.accuracy import Evaluation, Judging, evaluate, judged
from graphprune.generation.loop import open_decoder
from graphprune.generation.measure import Generating, GenerationMeasurement, measure_points
from graphprune.generation.opening import environment
from graphprune.generation.pruned import original_decoder, points
from graphprune.generation.source import DecoderSource
from graphprune.generation.verdict import is_faster, is_slower, refuse_slower_phases
from graphprune.measure.ort import measure
from graphprune.measure.verdict import TimedCut, explained, refuse_slower
from graphprune.plan.max_drop import Drop
from graphprune.report.result import Result
from graphprune.run.loaded import LoadedRun
from graphprune.run.options import RunOptions

_UNDECIDED_SECONDS = 2.0  # of timing at least, before a result is refused for being no faster


def evaluated(path: Path, loaded: LoadedRun, held_out: Data | None, options: RunOptions) -> Evaluation | None:
    """How good the network in ``path`` is on ``held_out``, against the original; None where there is no such data."""
    options.progress("evaluating", 0, 0)
    return None if held_out is None else evaluate(path, judging(loaded, held_out, options))


def judge(
    network: Path | onnx.ModelProto, loaded: LoadedRun, held_out: Data, options: RunOptions
) -> tuple[Evaluation, Drop]:
    """How good a network is on ``held_out``, against the original, and what it loses, with an interval."""
    return judged(network, judging(loaded, held_out, options))


def judging(loaded: LoadedRun, held_out: Data, options: RunOptions) -> Judging:
    """How networks are judged on ``held_out``: against the original, which runs on it once."""
    model, metric = loaded.model, options.data.metric
    return Judging(model.source, model.folder, held_out, options.batch, options.runtime, metric, loaded.known)


def budgeted(path: Path, loaded: LoadedRun, held_out: Data | None, options: RunOptions, result: Result) -> Result:
    """``result`` with how good the network in ``path`` is and, where its plan has a budget, what it loses of that.

    Raises
    ------
    TargetNotReached
        It loses more than it may.
    """
    budget = result.plan.budget
    if not budget or held_out is None:
        return replace(result, evaluation=evaluated(path, loaded, held_out, options))
    options.progress("evaluating", 0, 0)
    evaluation, drop = judge(path, loaded, held_out, options)
    if not budget.asked.allows(drop):
        raise TargetNotReached(
            f"the result loses {drop} on {drop.samples} samples, which is more than --max-drop {budget.asked}",
            "ask for less, or allow more",
        )
    return replace(result, evaluation=evaluation, plan=replace(result.plan, budget=replace(budget, reached=drop)))


def timed(path: Path, loaded: LoadedRun, result: Result, options: RunOptions) -> Result:
    """``result``, which tells what was removed, with the time of the file in ``path`` against the original's; of a
    decoder with a cache also as it generates.

    Raises
    ------
    NotFaster
        It is not measured faster, a decoder in one of its phases, and that is not allowed.
    """
    timing = options.timing
    generation = generated(path, loaded, result, options)
    if generation is not None and not timing.allow_slower and not is_faster(generation):
        per_token = generation.points[0].per_token.first.median_ms
        refuse_slower_phases(generation, *explained(per_token, timing.batch, _cut(path, loaded, result, options)))
    options.progress("measuring", 0, 0)
    model = loaded.model
    feeds = loaded.data.first(timing.batch)
    is_judged = generation is None and not timing.allow_slower
    measurement = measure(
        model.source,
        path,
        feeds,
        options.runtime,
        folder=model.folder,
        min_seconds=timing.seconds,
        undecided_seconds=max(_UNDECIDED_SECONDS, 5 * timing.seconds) if is_judged else 0.0,
        samples=loaded.data.batching.count(feeds),
    )
    if is_judged:
        refuse_slower(measurement, _cut(path, loaded, result, options))
    return replace(result, measurement=measurement, generation=generation)


def generated(path: Path, loaded: LoadedRun, result: Result, options: RunOptions) -> GenerationMeasurement | None:
    """Both phases of generation with the file in ``path`` against the original; None where that does not generate.

    Where no phase is certain to be faster there is a second look, five times as long, and that one counts.
    """
    timing, model, where = options.timing, loaded.model, options.runtime
    first = original_decoder(model, where)
    if first is None:
        return None
    assert result.model is not None
    second = open_decoder(DecoderSource(path), where, sizes=cache_sizes(result.model))
    wanted = points(model)
    facts = environment("ort", where)

    def look(seconds: float) -> GenerationMeasurement:
        how = Generating(timing.batch, options.seed, seconds, options.progress)
        return GenerationMeasurement(tuple(measure_points(first, second, wanted, how)), timing.batch, facts)

    measured = look(timing.seconds)
    if timing.allow_slower or is_faster(measured) or is_slower(measured):
        return measured
    return look(max(_UNDECIDED_SECONDS, 5 * timing.seconds))


def _cut(path: Path, loaded: LoadedRun, result: Result, options: RunOptions) -> TimedCut:
    """What a verdict asks of original and result."""
    model, costs = loaded.model, (result.before, result.after)
    place, is_auto = options.timing.cache_folder, options.align == "auto"
    return TimedCut(model.source, path, model.folder, result.plan, costs, options.runtime, place, is_auto)
