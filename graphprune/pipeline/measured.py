"""What is measured of a written file: how good the network is, and how fast."""

from __future__ import annotations

from pathlib import Path

from graphprune.bench.ort import measure
from graphprune.bench.runtime import Measurement
from graphprune.bench.verdict import refuse_slower
from graphprune.data.dataset import Data
from graphprune.evaluation.accuracy import Evaluation, evaluate
from graphprune.report.result import Result
from graphprune.run.loaded import LoadedRun
from graphprune.run.options import RunOptions

_UNDECIDED_SECONDS = 2.0  # of timing at least, before a result is refused for being no faster


def evaluated(path: Path, loaded: LoadedRun, held_out: Data | None, options: RunOptions) -> Evaluation | None:
    """How good the network in ``path`` is on ``held_out``, against the original; None where there is no such data."""
    options.progress("evaluating", 0, 0)
    if held_out is None:
        return None
    model = loaded.model
    return evaluate(model.source, path, model.folder, held_out, options.batch, options.runtime, options.data.metric)


def timed(path: Path, loaded: LoadedRun, result: Result, options: RunOptions) -> Measurement:
    """The time of the file in ``path`` against the original's; ``result`` tells what was removed.

    Raises
    ------
    NotFaster
        It is not measured faster, and that is not allowed.
    """
    options.progress("measuring", 0, 0)
    model, timing = loaded.model, options.timing
    feeds = loaded.data.first(timing.batch)
    measurement = measure(
        model.source,
        path,
        feeds,
        options.runtime,
        folder=model.folder,
        min_seconds=timing.seconds,
        undecided_seconds=0.0 if timing.allow_slower else max(_UNDECIDED_SECONDS, 5 * timing.seconds),
        samples=loaded.data.batching.count(feeds),
    )
    if not timing.allow_slower:
        refuse_slower(
            measurement,
            model.source,
            path,
            model.folder,
            result.plan,
            (result.before, result.after),
            options.runtime,
            timing.cache_folder,
        )
    return measurement
