"""Two models on ONNX Runtime, with the same provider, options and inputs."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from graphprune import optional
from graphprune.bench.timing import Comparison, compare
from graphprune.runtime.sessions import Feeds, RuntimeOptions, open_session, run


@dataclass(frozen=True)
class Measurement:
    """A comparison and the circumstances it holds for."""

    comparison: Comparison
    batch: int
    environment: Mapping[str, Any]


def measure(
    original: Path | onnx.ModelProto,
    pruned: Path | onnx.ModelProto,
    feeds: Feeds,
    options: RuntimeOptions,
    *,
    folder: Path | None = None,
    min_seconds: float = 2.0,
    undecided_seconds: float = 0.0,
) -> Measurement:
    """Time both models on the same ``feeds``; see :func:`graphprune.bench.timing.compare`."""
    sessions = [open_session(model, options, folder) for model in (original, pruned)]
    comparison = compare(
        lambda: run(sessions[0], feeds),
        lambda: run(sessions[1], feeds),
        min_seconds=min_seconds,
        undecided_seconds=undecided_seconds,
    )
    return Measurement(comparison, len(next(iter(feeds.values()))), environment(options))


def environment(options: RuntimeOptions) -> dict[str, Any]:
    """What a reader needs to know to repeat a timing."""
    return {
        "runtime": f"onnxruntime {optional.onnxruntime().__version__}",
        "provider": options.provider_name,
        "threads": options.thread_count,
        "processor": _processor(),
        "python": platform.python_version(),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
