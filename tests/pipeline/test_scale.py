"""Typing stays light: thousands of nodes in seconds, a billion parameters without reading one of them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import helper

from graphprune.analysis.groups import find_groups
from graphprune.axes.infer import infer
from graphprune.ir.loading import load

LAYERS, WIDTH = 60, 4096  # 60 float32 matrices of 4096 x 4096: a billion parameters, 4 GB


def stages(count: int, blocks: int) -> onnx.ModelProto:
    """``count`` stages of ``blocks`` times ``h = h + relu(h w + b) v``; a dense layer leads from stage to stage."""
    nodes, weights = [], []

    def weight(name: str, *shape: int) -> str:
        weights.append(onnx.numpy_helper.from_array(np.full(shape, 0.1, np.float32), name))
        return name

    h = "x"
    for block in (f"stages.{stage}.{i}" for stage in range(count) for i in range(blocks)):
        if block.endswith(".0"):
            nodes.append(helper.make_node("MatMul", [h, weight(f"{block}.enter.weight", 8, 8)], [f"{block}/h"]))
            h = f"{block}/h"
        p, q, r, s, joined = (f"{block}/{name}" for name in "pqrsj")
        nodes += [
            helper.make_node("MatMul", [h, weight(f"{block}.up.weight", 8, 6)], [p]),
            helper.make_node("Add", [p, weight(f"{block}.up.bias", 6)], [q]),
            helper.make_node("Relu", [q], [r]),
            helper.make_node("MatMul", [r, weight(f"{block}.down.weight", 6, 8)], [s]),
            helper.make_node("Add", [h, s], [joined]),
        ]
        h = joined
    return _model(nodes, "x", h, 8, weights)


def test_five_thousand_nodes_are_typed_in_two_seconds() -> None:
    model = load(stages(10, 100))
    assert len(model.graph.nodes) == 5010
    started = time.process_time()
    typing = infer(model)
    groups = find_groups(model, typing)
    assert time.process_time() - started < 2.0
    kinds = [group.kind for group in groups]
    assert (kinds.count("neurons"), kinds.count("width")) == (1000, 10)


def test_a_billion_parameters_are_typed_without_being_read(tmp_path: Path) -> None:
    path = tmp_path / "big.onnx"
    _write_sparse(path)
    done = subprocess.run([sys.executable, "-c", _MEASURE, str(path)], capture_output=True, text=True, check=True)
    groups, grown_kib = map(int, done.stdout.split())
    assert groups == LAYERS
    assert grown_kib < 200 << 10


def _model(
    nodes: list[onnx.NodeProto], first: str, last: str, width: int, weights: list[onnx.TensorProto]
) -> onnx.ModelProto:
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", width]) for name in (first, last)]
    graph = helper.make_graph(nodes, "scale", ends[:1], ends[1:], weights)
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def _write_sparse(path: Path) -> None:
    """A chain of dense layers whose data file is one hole: as long as it claims to be, but no byte was ever written."""
    layer_bytes = 4 * WIDTH * WIDTH
    weights, nodes = [], []
    for i in range(LAYERS):
        weight = onnx.TensorProto(name=f"layers.{i}.weight", dims=(WIDTH, WIDTH), data_type=onnx.TensorProto.FLOAT)
        weight.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", "big.data"), ("offset", i * layer_bytes), ("length", layer_bytes)):
            weight.external_data.add(key=key, value=str(value))
        weights.append(weight)
        nodes.append(helper.make_node("MatMul", [f"h{i}", weight.name], [f"h{i + 1}"], f"layer{i}"))
    onnx.save(_model(nodes, "h0", f"h{LAYERS}", WIDTH, weights), path)
    data = path.with_name("big.data")
    data.touch()
    os.truncate(data, LAYERS * layer_bytes)


_MEASURE = """
import resource, sys
from graphprune.analysis.groups import find_groups
from graphprune.axes.infer import infer
from graphprune.ir import loading
loading.file_hash = lambda paths: ""  # reads every byte, in small pieces, and takes seconds: not what is measured here
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
model = loading.load(sys.argv[1])
groups = find_groups(model, infer(model))
print(len(groups), peak() - before)
"""
