"""Ask a pass, and read its answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import onnx

import graphprune
from graphprune import RecoveryOptions, RunOptions, TimingOptions
from graphprune.report.result import Result
from tests.graphs import run

Arrays = Mapping[str, np.ndarray]


def pruned(
    proto: onnx.ModelProto, spec: str, data: Arrays | None, target: str | None = None, *, align: int = 1, batch: int = 4
) -> Result:
    """Decided, cut and validated; ``batch`` is small, so that the data comes in several."""
    options = RunOptions(
        batch=batch, align=align, timing=TimingOptions(measure_latency=False), recovery=RecoveryOptions(repair=())
    )
    return graphprune.prune(proto, [spec], data, target, options=options)


def decided(
    proto: onnx.ModelProto,
    spec: str,
    data: Arrays | None,
    target: str | None = None,
    *,
    align: int | Literal["auto"] = 1,
    batch: int = 4,
    seed: int = 0,
) -> Result:
    """Decided only."""
    options = RunOptions(align=align, batch=batch, seed=seed)
    return graphprune.prune(proto, [spec], data, target, dry_run=True, options=options)


def scores(result: Result) -> dict[str, np.ndarray]:
    """Group -> importances, of the groups that were cut."""
    return {units.group: np.array(units.scores) for units in result.plan.units}


def removed(result: Result) -> dict[str, list[int]]:
    return {units.group: list(units.removed) for units in result.plan.units}


def counts(result: Result) -> dict[str, int]:
    return {units.group: len(units.removed) for units in result.plan.units}


def inner(proto: onnx.ModelProto, feeds: Arrays, *names: str) -> list[np.ndarray]:
    """Inner tensors, by plain ONNX Runtime."""
    whole = onnx.ModelProto.FromString(proto.SerializeToString())
    for name in names:
        whole.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    known = {value.name for value in proto.graph.input}
    return run(whole, {name: array for name, array in feeds.items() if name in known}, list(names))
