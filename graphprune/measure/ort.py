"""ONNX Runtime, on any of its providers: same options and inputs for both models, GPU buffers bound."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from graphprune.base import extras
from graphprune.errors import RuntimeMissing
from graphprune.measure import machine
from graphprune.measure.runtime import Measurement, Runner, Source, measure_on
from graphprune.runtime.sessions import (
    CPU,
    CUDA,
    TENSORRT,
    Feeds,
    RuntimeOptions,
    failing_in_a_sentence,
    open_session,
    require_provider,
    run,
    unwrapped,
)

ON_CUDA = (CUDA, TENSORRT)
"""Providers whose inputs and outputs can stay in CUDA memory."""


def measure(
    original: Source,
    pruned: Source,
    feeds: Feeds,
    options: RuntimeOptions,
    *,
    folder: Path | None = None,
    min_seconds: float = 2.0,
    undecided_seconds: float = 0.0,
    samples: int | None = None,
) -> Measurement:
    """Time both models on the same ``feeds``, which hold so many ``samples``;
    see :func:`graphprune.measure.runtime.measure_on`.

    ``folder`` is where the external data of in-memory models lies.
    """
    runtime = OrtRuntime(options, folder)
    return measure_on(
        runtime,
        original,
        pruned,
        feeds,
        min_seconds=min_seconds,
        undecided_seconds=undecided_seconds,
        samples=samples,
    )


@dataclass(frozen=True)
class OrtRuntime:
    """ONNX Runtime with a provider."""

    options: RuntimeOptions
    folder: Path | None = None
    name: str = "ort"

    def require(self) -> None:
        require_provider(self.options)

    def open(self, model: Source, feeds: Feeds) -> Runner:
        session, feeds = unwrapped(
            open_session(model, self.options, self.folder, record_assignment=True, spins=True), feeds
        )
        facts = self._assignment(session)
        if self.options.provider_name in ON_CUDA:
            return bound(session, feeds, ("cuda", self.options.device_index), facts)
        run(session, feeds)
        return Runner(lambda: run(session, feeds), facts=facts)

    def environment(self) -> dict[str, Any]:
        facts = {
            "runtime": f"onnxruntime {extras.onnxruntime().__version__}",
            "provider": self.options.provider_name,
            "threads": self.options.thread_count,
        }
        if self.options.provider_name in ON_CUDA:
            facts |= {"device_clock": "host, around bound and synchronised runs"}
            facts |= machine.gpu(self.options.device_index)
        return facts | machine.host()

    def _assignment(self, session: Any) -> dict[str, Any]:
        """Nodes on each provider, where this ONNX Runtime tells: a provider that took none has not started."""
        wanted = self.options.provider_name
        if wanted == CPU or not hasattr(session, "get_provider_graph_assignment_info"):
            return {}
        counts = Counter[str]()
        for part in session.get_provider_graph_assignment_info():
            counts[part.ep_name] += len(part.get_nodes())
        if counts and not counts[wanted]:
            raise RuntimeMissing(
                f"{wanted} took none of the {counts.total()} nodes; all of them run on {', '.join(counts)}",
                "run graphprune doctor; it tells which providers really start",
            )
        return {"nodes": dict(counts)}


def bound(session: Any, feeds: Feeds, device: tuple[str, int], facts: dict[str, Any]) -> Runner:
    """A session whose inputs and outputs have places of their own on ``device``, as CUDA graphs want it."""
    ort = extras.onnxruntime()
    binding, names = session.io_binding(), [output.name for output in session.get_outputs()]
    arrays = {name: np.ascontiguousarray(array) for name, array in feeds.items()}
    inputs = {name: ort.OrtValue.ortvalue_from_numpy(array, *device) for name, array in arrays.items()}
    for name, value in inputs.items():
        binding.bind_ortvalue_input(name, value)
    for name in names:
        binding.bind_output(name, *device)
    uncaptured = ort.RunOptions()
    uncaptured.add_run_config_entry("gpu_graph_id", "-1")  # this run only finds the places of the outputs
    with failing_in_a_sentence("check the input shapes"):
        session.run_with_iobinding(binding, uncaptured)
        outputs = binding.get_outputs()
    for name, value in zip(names, outputs, strict=True):
        binding.bind_ortvalue_output(name, value)

    def run_bound() -> list[np.ndarray]:
        with failing_in_a_sentence("check the input shapes"):
            for name, array in arrays.items():
                inputs[name].update_inplace(array)
            session.run_with_iobinding(binding)
            return [value.numpy() for value in outputs]

    def device_ms() -> float:
        with failing_in_a_sentence("check the input shapes"):
            binding.synchronize_inputs()
            begin = time.perf_counter_ns()
            session.run_with_iobinding(binding)
            binding.synchronize_outputs()
        return (time.perf_counter_ns() - begin) / 1e6

    run_bound()
    return Runner(run_bound, device_ms, facts)
