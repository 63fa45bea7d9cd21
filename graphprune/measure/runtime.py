"""What every runtime offers to the timing: a model opened on it, run once, with and without the way to the device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx

from graphprune.measure.timing import Comparison, compare, compare_opened
from graphprune.runtime.sessions import Feeds
from graphprune.runtime.timing import own_ms

Source = onnx.ModelProto | Path

_OPENINGS = 8


@dataclass(frozen=True)
class Runner:
    """A model that stands ready with its inputs.

    ``run`` goes end to end: inputs from host memory, outputs back in it as float32 or as the model has them, the device
    idle when it returns. ``device_ms`` runs once on inputs that lie on the device,
    leaves the outputs there and returns the milliseconds by the clock that the environment names; None where host and
    device are one. ``facts`` is what opening the model showed, e.g. the nodes on each provider.
    """

    run: Callable[[], list[np.ndarray]]
    device_ms: Callable[[], float] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


class Runtime(Protocol):
    """A runtime with its settings."""

    @property
    def name(self) -> str:
        """As in ``--runtime``."""

    def require(self) -> None:
        """Raise RuntimeMissing unless models can be run here, RuntimeOptions being what they are."""

    def open(self, model: Source, feeds: Feeds) -> Runner:
        """Load, build or compile ``model`` for inputs of the shapes of ``feeds``, and run it once.

        The feeds may be those of the file that the model was made of (:mod:`graphprune.ir.input_origins`).

        Raises
        ------
        RuntimeMissing
            The runtime, or the device asked for, does not start.
        ModelError
            The runtime cannot load or run the model.
        """

    def environment(self) -> dict[str, Any]:
        """Versions, device, clocks, threads: what a reader needs to know to repeat a timing."""


@dataclass(frozen=True)
class Measurement:
    """A comparison, end to end, and the circumstances it holds for;
    ``device`` compares the time on the device alone.
    """

    comparison: Comparison
    batch: int
    environment: Mapping[str, Any]
    device: Comparison | None = None


def measure_on(
    runtime: Runtime,
    original: Source,
    pruned: Source,
    feeds: Feeds,
    *,
    min_seconds: float = 2.0,
    undecided_seconds: float = 0.0,
    samples: int | None = None,
) -> Measurement:
    """Time both models on the same ``feeds``, interleaved; where there is a device,
    then once more on the device alone. ``samples`` is how many the feeds hold; None: the rows of the first.

    Both are opened anew several times: with more than one thread on a busy machine a session may be a half slower than
    its twin for as long as it is open, and another opening is not.
    """
    opened: list[Runner] = []

    def open_pair() -> tuple[Callable[[], object], Callable[[], object]]:
        opened.clear()  # two at a time
        opened.extend(runtime.open(model, feeds) for model in (original, pruned))
        return opened[0].run, opened[1].run

    comparison = compare_opened(open_pair, _OPENINGS, min_seconds=min_seconds, undecided_seconds=undecided_seconds)
    first, second = opened
    device = None
    if first.device_ms and second.device_ms:
        device = compare(first.device_ms, second.device_ms, min_seconds=min_seconds, timed=own_ms)
    environment = runtime.environment()  # clocks are read right after the load, before they fall
    facts = {"first": dict(first.facts), "second": dict(second.facts)} if first.facts or second.facts else {}
    batch = next((len(array) for array in feeds.values() if array.ndim), 1) if samples is None else samples
    return Measurement(comparison, batch, environment | facts, device)
