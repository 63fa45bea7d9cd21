"""Many small models timed in turn, so that drift and neighbours hit all of them alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from graphprune.runtime.sessions import Feeds, RuntimeOptions, open_session, run, unwrapped
from graphprune.runtime.timing import exactly, rounds_ms

_WARM_UPS = 3
_OPENINGS = 3  # where a runtime puts its buffers is a matter of luck
_SECONDS = 0.02  # for each model and opening
_LEAST_RUNS, _MOST_RUNS = 9, 200
_PERCENTILE = 25  # disturbances only add


def times_ms(
    models: Sequence[tuple[onnx.ModelProto, Feeds]],
    options: RuntimeOptions,
    folder: Path | None = None,
    openings: int = _OPENINGS,
) -> list[float]:
    """Milliseconds of a run of each: the lower quartile of runs taken in turn, of the best of a few openings."""
    return [float(value) for value in np.min([_opening(models, options, folder) for _ in range(openings)], axis=0)]


def _opening(
    models: Sequence[tuple[onnx.ModelProto, Feeds]], options: RuntimeOptions, folder: Path | None
) -> NDArray[np.float64]:
    runs = [_runner(*unwrapped(open_session(model, options, folder, spins=True), feeds)) for model, feeds in models]
    longest_ms = max(rounds_ms([each], exactly(_WARM_UPS))[-1, 0] for each in runs)
    count = int(np.clip(_SECONDS / max(longest_ms / 1e3, 1e-6), _LEAST_RUNS, _MOST_RUNS))
    samples = rounds_ms(runs, exactly(count))
    quartiles: NDArray[np.float64] = np.percentile(samples, _PERCENTILE, axis=0)
    return quartiles


def _runner(session: Any, feeds: Feeds) -> Callable[[], object]:
    return lambda: run(session, feeds)
