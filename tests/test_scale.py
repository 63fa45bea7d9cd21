"""Typing stays light: thousands of nodes in seconds, billions of parameters without reading one of them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import helper

from graphprune.axes.infer import infer
from graphprune.loading import load
from graphprune.structure.groups import find_groups

LAYERS, WIDTH = 60, 4096  # 60 float32 matrices of 4096 x 4096: a billion parameters, 4 GB


def chain(blocks: int) -> onnx.ModelProto:
    """``blocks`` times ``h = h + relu(h w + b) v``, five nodes each."""
    nodes, weights = [], []
    for i in range(blocks):
        for name, shape in (("w", (8, 6)), ("b", (6,)), ("v", (6, 8))):
            weights.append(onnx.numpy_helper.from_array(np.full(shape, 0.1, np.float32), f"blocks.{i}.{name}"))
        nodes += [
            helper.make_node("MatMul", [f"h{i}", f"blocks.{i}.w"], [f"p{i}"], f"up{i}"),
            helper.make_node("Add", [f"p{i}", f"blocks.{i}.b"], [f"q{i}"], f"bias{i}"),
            helper.make_node("Relu", [f"q{i}"], [f"r{i}"], f"act{i}"),
            helper.make_node("MatMul", [f"r{i}", f"blocks.{i}.v"], [f"s{i}"], f"down{i}"),
            helper.make_node("Add", [f"h{i}", f"s{i}"], [f"h{i + 1}"], f"join{i}"),
        ]
    return _model(nodes, "h0", f"h{blocks}", 8, weights)


def test_five_thousand_nodes_are_typed_in_two_seconds() -> None:
    model = load(chain(1000))
    assert len(model.graph.nodes) == 5000
    started = time.process_time()
    typing = infer(model)
    assert time.process_time() - started < 2.0
    started = time.process_time()
    groups = find_groups(model, typing)
    assert time.process_time() - started < 2.0
    assert [group.kind for group in groups].count("neurons") == 1000


def test_a_billion_parameters_are_typed_without_being_read(tmp_path: Path) -> None:
    path = tmp_path / "big.onnx"
    _write_sparse(path)
    done = subprocess.run([sys.executable, "-c", _MEASURE, str(path)], capture_output=True, text=True, check=True)
    groups, grown_kib = map(int, done.stdout.split())
    assert groups == LAYERS
    assert grown_kib < 200 << 10


def _model(nodes: list[onnx.NodeProto], first: str, last: str, width: int,
           weights: list[onnx.TensorProto]) -> onnx.ModelProto:  # fmt: skip
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
from graphprune import loading
from graphprune.axes.infer import infer
from graphprune.structure.groups import find_groups
loading._hash = lambda paths: ""  # reads every byte, in small pieces, and takes seconds: not what is measured here
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
model = loading.load(sys.argv[1])
groups = find_groups(model, infer(model))
print(len(groups), peak() - before)
"""
