"""Which of two models is faster."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from graphprune.data.dataset import input_specs
from graphprune.errors import ModelError
from graphprune.ir.loading import load
from graphprune.measure.registry import BenchOptions, runtime
from graphprune.measure.runtime import Measurement, measure_on
from graphprune.model_folder.layout import model_file
from graphprune.run.loaded import check_source, prepare
from graphprune.run.notes import texts_of
from graphprune.run.options import RunOptions, given_options


def bench(
    original: str | os.PathLike[str],
    pruned: str | os.PathLike[str],
    data: Any = None,
    options: RunOptions | None = None,
    runtimes: Sequence[str] = ("ort",),
    bench: BenchOptions | None = None,
) -> list[Measurement]:
    """Time two model files, or folders, on the inputs of the first; the same as ``graphprune bench ORIGINAL PRUNED``.

    There is a measurement for each of ``runtimes`` (``ort``, ``torch``, ``ort:openvino`` ...), ``comparison`` in it has
    the times of both: ``comparison.ratio`` is that of the second over that of the first, with its interval.

    Raises
    ------
    ModelError
        The models do not take the same inputs, or a runtime cannot run one of them.
    RuntimeMissing
        A runtime is not here or does not start; all are asked before the first is timed.
    """
    options = given_options(options)
    for each in (original, pruned):
        check_source(each)
    original, pruned = model_file(Path(original)), model_file(Path(pruned))
    chosen = [runtime(spec, options.runtime, bench) for spec in dict.fromkeys(runtimes)]
    for place in chosen:
        place.require()
    # Sizes that inference does not tell come from a run: on the CPU, whatever is timed.
    loaded = prepare(original, data, replace(options, runtime=replace(options.runtime, provider="cpu")))
    other = load(pruned)
    mine, theirs = (sorted(input_specs(model), key=str) for model in (loaded.model, other))
    if [(spec.name, spec.dtype) for spec in mine] != [(spec.name, spec.dtype) for spec in theirs]:
        takes = [", ".join(map(str, specs)) for specs in (mine, theirs)]
        raise ModelError(f"{original} takes {takes[0]}, {pruned} takes {takes[1]}", "compare like with like")
    feeds = loaded.data.first(options.timing.batch)
    measurements = []
    for number, place in enumerate(chosen):
        options.progress(f"measuring on {place.name}", number, len(chosen))
        samples, seconds = loaded.data.batching.count(feeds), options.timing.seconds
        measurements.append(measure_on(place, original, pruned, feeds, min_seconds=seconds, samples=samples))
    if not loaded.notes:
        return measurements
    picked = {"sizes": "; ".join(texts_of(loaded.notes))}
    return [replace(found, environment={**found.environment, **picked}) for found in measurements]
