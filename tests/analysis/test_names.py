"""Blocks are called what their author called them, uniquely and as shortly as that allows."""

from __future__ import annotations

import onnx
import pytest
from onnx import helper

from graphprune.analysis.blocks import find_joins
from graphprune.ir.loading import load
from tests.graphs import random_weight

Node = tuple[str, list[str], str, str]
"""Operator, inputs, output and name."""


def names(nodes: list[Node]) -> list[str]:
    """Block names of a chain from ``h0`` to ``h2``; inputs that nobody makes are (4, 4) weights."""
    made = {"h0", *(output for _, _, output, _ in nodes)}
    weights = [name for _, inputs, _, _ in nodes for name in inputs if name not in made]
    graph = helper.make_graph(
        [helper.make_node(op, inputs, [output], name) for op, inputs, output, name in nodes],
        "names",
        [helper.make_tensor_value_info("h0", onnx.TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("h2", onnx.TensorProto.FLOAT, ["N", 4])],
        [onnx.numpy_helper.from_array(random_weight(name, (4, 4)), name) for name in weights],
    )
    proto = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    proto.graph.node.insert(0, helper.make_node("Tanh", ["x"], ["h0"], "stem"))
    proto.graph.input[0].name = "x"
    return [join.name for join in find_joins(load(proto)) if join.block]


def block(index: int, weights: list[str], paths: list[str]) -> list[Node]:
    """``h{i+1} = h{i} + b(tanh(a(h{i})))`` with the names of both weights and both layers given."""
    h, a, t, b = (f"{name}{index}" for name in "hatb")
    return [
        ("MatMul", [h, weights[0]], a, paths[0]),
        ("Tanh", [a], t, f"act{index}"),
        ("MatMul", [t, weights[1]], b, paths[1]),
        ("Add", [h, b], f"h{index + 1}", f"join{index}"),
    ]


@pytest.mark.parametrize(
    ("first", "second", "paths", "expected"),
    [
        # Names of parameters.
        (
            ["s.0.up.weight", "s.0.down.weight"],
            ["s.1.up.weight", "s.1.down.weight"],
            ["a", "b", "c", "d"],
            ["s.0", "s.1"],
        ),
        # Exporters that rename weights keep paths in node names; only what tells them apart is shown.
        (
            ["w0", "w1"],
            ["w2", "w3"],
            ["/net/l.0/up/M", "/net/l.0/down/M", "/net/l.1/up/M", "/net/l.1/down/M"],
            ["l.0", "l.1"],
        ),
        (
            ["w0", "w1"],
            ["w2", "w3"],
            ["/s.0/l.1/f/up/M", "/s.0/l.1/f/down/M", "/s.1/l.1/f/up/M", "/s.1/l.1/f/down/M"],
            ["s.0/l.1/f", "s.1/l.1/f"],
        ),
        # Nothing usable: the join's own name.
        (["w0", "w1"], ["w2", "w3"], ["a", "b", "c", "d"], ["join0", "join1"]),
        # One prefix for both.
        (
            ["s.up.weight", "s.down.weight"],
            ["s.in.weight", "s.out.weight"],
            ["a", "b", "c", "d"],
            ["s/mlp#join0", "s/mlp#join1"],
        ),
    ],
)
def test_names(first: list[str], second: list[str], paths: list[str], expected: list[str]) -> None:
    assert names([*block(0, first, paths[:2]), *block(1, second, paths[2:])]) == expected


def test_attention_and_mlp_of_one_layer() -> None:
    attention = block(0, ["l.0.q.weight", "l.0.o.weight"], ["q", "o"])
    attention[1] = ("Softmax", ["a0"], "t0", "softmax")
    assert names([*attention, *block(1, ["l.0.up.weight", "l.0.down.weight"], ["up", "down"])]) == [
        "l.0/attention",
        "l.0/mlp",
    ]
