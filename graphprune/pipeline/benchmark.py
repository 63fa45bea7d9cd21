"""Which of two models is faster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from graphprune.bench.registry import BenchOptions, runtime
from graphprune.bench.runtime import Measurement, measure_on
from graphprune.data.dataset import input_specs
from graphprune.errors import ModelError
from graphprune.ir.loading import load
from graphprune.run.loaded import prepare
from graphprune.run.notes import texts_of
from graphprune.run.options import RunOptions


def benchmark(
    original: Path,
    pruned: Path,
    data: Any,
    options: RunOptions,
    runtimes: Sequence[str] = ("ort",),
    bench: BenchOptions | None = None,
) -> list[Measurement]:
    """Time two model files on the inputs of the first, on each of ``runtimes`` in turn (``NAME`` or ``NAME:PLACE``).

    Raises
    ------
    ModelError
        The models do not take the same inputs, or a runtime cannot run one of them.
    RuntimeMissing
        A runtime is not here or does not start; all are asked before the first is timed.
    """
    chosen = [runtime(spec, options.runtime, bench) for spec in dict.fromkeys(runtimes)]
    for each in chosen:
        each.require()
    # Sizes that inference does not tell come from a run: on the CPU, whatever is timed.
    loaded = prepare(original, data, replace(options, runtime=replace(options.runtime, provider="cpu")))
    other = load(pruned)
    mine, theirs = (sorted(input_specs(model), key=str) for model in (loaded.model, other))
    if [(spec.name, spec.dtype) for spec in mine] != [(spec.name, spec.dtype) for spec in theirs]:
        takes = [", ".join(map(str, specs)) for specs in (mine, theirs)]
        raise ModelError(f"{original} takes {takes[0]}, {pruned} takes {takes[1]}", "compare like with like")
    feeds = loaded.data.first(options.timing.batch)
    measurements = []
    for number, each in enumerate(chosen):
        options.progress(f"measuring on {each.name}", number, len(chosen))
        samples, seconds = loaded.data.batching.count(feeds), options.timing.seconds
        measurements.append(measure_on(each, original, pruned, feeds, min_seconds=seconds, samples=samples))
    if not loaded.notes:
        return measurements
    picked = {"sizes": "; ".join(texts_of(loaded.notes))}
    return [replace(each, environment={**each.environment, **picked}) for each in measurements]
