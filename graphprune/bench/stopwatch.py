"""Many small models timed in turn, so that drift and neighbours hit all of them alike."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from graphprune.runtime.sessions import Feeds, RuntimeOptions, open_session, run

_WARM_UPS = 3
_OPENINGS = 3  # where a runtime puts its buffers is a matter of luck
_SECONDS = 0.02  # for each model and opening
_LEAST_RUNS, _MOST_RUNS = 9, 200
_PERCENTILE = 25  # disturbances only add


def times_ms(
    models: Sequence[tuple[onnx.ModelProto, Feeds]], options: RuntimeOptions, folder: Path | None = None,
    openings: int = _OPENINGS,
) -> list[float]:  # fmt: skip
    """Milliseconds of a run of each: the lower quartile of runs taken in turn, of the best of a few openings."""
    return [float(value) for value in np.min([_opening(models, options, folder) for _ in range(openings)], axis=0)]


def _opening(
    models: Sequence[tuple[onnx.ModelProto, Feeds]], options: RuntimeOptions, folder: Path | None
) -> NDArray[np.float64]:
    sessions = [open_session(model, options, folder) for model, _ in models]
    longest = 0.0
    for session, (_, feeds) in zip(sessions, models, strict=True):
        for _ in range(_WARM_UPS):
            began = time.perf_counter()
            run(session, feeds)
        longest = max(longest, time.perf_counter() - began)
    runs = int(np.clip(_SECONDS / max(longest, 1e-6), _LEAST_RUNS, _MOST_RUNS))
    samples = np.empty((runs, len(sessions)))
    for row in samples:
        for column, (session, (_, feeds)) in enumerate(zip(sessions, models, strict=True)):
            began_ns = time.perf_counter_ns()
            run(session, feeds)
            row[column] = (time.perf_counter_ns() - began_ns) / 1e6
    quartiles: NDArray[np.float64] = np.percentile(samples, _PERCENTILE, axis=0)
    return quartiles
