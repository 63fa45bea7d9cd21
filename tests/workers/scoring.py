"""A small run whose plan and file can be compared byte by byte."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx

import graphprune
from graphprune import RecoveryOptions, RunOptions, RuntimeOptions, TimingOptions, WorkerOptions
from graphprune.base.progress import Progress
from graphprune.pass_infra.base import Pass
from graphprune.report.result import Result
from graphprune.workers import Backend
from tests.graphs import residual_mlp


def network() -> onnx.ModelProto:
    """Eight blocks."""
    return residual_mlp(8)


def pruned(
    output: Path,
    *,
    jobs: int | None = None,
    backend: Backend | None = None,
    cluster: str | None = None,
    threads: int = 1,
    samples: int = 100,
    progress: Progress = lambda task, done, total: None,
    each: Pass | str = "layer-cka",
) -> Result:
    """Three blocks out of eight."""
    proto = network()
    width = proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    data = np.random.default_rng(3).standard_normal((samples, width)).astype(np.float32)
    options = RunOptions(
        batch=8,
        timing=TimingOptions(measure_latency=False),
        recovery=RecoveryOptions(repair=()),
        workers=WorkerOptions(jobs=jobs, backend=backend, cluster=cluster),
        runtime=RuntimeOptions(threads=threads),
        progress=progress,
    )
    return graphprune.prune(proto, [each], data=data, target="removed=3", output=output, options=options)


def written(run: Callable[[Path], Result], folder: Path, name: str) -> tuple[str, bytes]:
    """The plan as JSON, and the model's bytes."""
    path = folder / f"{name}.onnx"
    return run(path).plan.to_json(), path.read_bytes()
