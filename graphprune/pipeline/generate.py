"""Which of two decoders generates faster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from graphprune.generation.measure import (
    Generating,
    GenerationMeasurement,
    PointMeasurement,
    measure_points,
    require_context,
)
from graphprune.generation.memory import peak_bytes
from graphprune.generation.opening import Open, environment, opener
from graphprune.generation.points import DEFAULT_POINTS, GenerationPoint, fitting
from graphprune.generation.source import DecoderSource, decoder_source
from graphprune.run.options import RunOptions


def benchmark_generation(
    original: Path,
    pruned: Path,
    options: RunOptions,
    runtimes: Sequence[str] = ("ort",),
    points: Sequence[GenerationPoint] | None = None,
) -> list[GenerationMeasurement]:
    """Time two decoders with a cache, files or folders, on random prompts, on each of ``runtimes`` in turn.

    Without ``points`` those by default, shortened to the context that the files beside the models name.

    Raises
    ------
    ModelError
        One of them is no such decoder, is made for fewer tokens, or a runtime cannot run it.
    OptionError
        There is no such runtime.
    RuntimeMissing
        A runtime is not here or does not start.
    """
    timing, where = options.timing, options.runtime
    chosen = [(name, opener(name), environment(name, where)) for name in dict.fromkeys(runtimes)]
    sources = [decoder_source(path) for path in (original, pruned)]
    contexts = [source.context for source in sources if source.context is not None]
    wanted = tuple(points) if points else fitting(DEFAULT_POINTS, min(contexts, default=None))
    measurements = []
    for name, opened, facts in chosen:
        measured = _timed(name, opened, sources, wanted, options)
        held = [_with_memory(each, (original, pruned), name, options) for each in measured]
        measurements.append(GenerationMeasurement(tuple(held), timing.batch, facts))
    return measurements


def _timed(
    name: str, opened: Open, sources: Sequence[DecoderSource], points: Sequence[GenerationPoint], options: RunOptions
) -> list[PointMeasurement]:
    """Times at each point. Neither decoder outlives this: what is asked next has the machine's memory for itself."""
    options.progress(f"opening on {name}", 0, 0)
    first, second = (opened(source, options.runtime) for source in sources)
    for decoder in (first, second):
        require_context(decoder, points, options.timing.batch)
    how = Generating(options.timing.batch, options.seed, options.timing.seconds, options.progress)
    return measure_points(first, second, points, how)


def _with_memory(
    measured: PointMeasurement, models: tuple[Path, Path], runtime: str, options: RunOptions
) -> PointMeasurement:
    point = GenerationPoint(measured.prompt, measured.new)
    options.progress(f"memory: {point}", 0, 0)
    one, other = (peak_bytes(model, runtime, options.runtime, point, options.timing.batch) for model in models)
    return replace(measured, peak_bytes=(one, other))
