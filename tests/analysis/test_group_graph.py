"""The graph of groups, weights and ops of a residual MLP with a normalisation and an operator that has no rule."""

from __future__ import annotations

import networkx as nx
import pytest

from graphprune.analysis.group_graph import group_graph
from graphprune.analysis.groups import find_groups
from graphprune.axes.infer import infer
from graphprune.axes.typing import Missing
from graphprune.ir.loading import load
from tests.graphs import build

NODES = """
    [stem] h = MatMul(x, w_stem)
    [up] a = MatMul(h, w_up) [norm] n = BatchNormalization(a, scale, shift, mean, variance) [act] r = Relu(n)
    [down] b = MatMul(r, w_down) [join] j = Add(h, b)
    [odd] o = CumSum(j, axis) [head] y = MatMul(o, w_head)
"""
WEIGHTS = {
    "w_stem": (4, 6),
    "w_up": (6, 5),
    "w_down": (5, 6),
    "w_head": (6, 3),
    "scale": (5,),
    "shift": (5,),
    "mean": (5,),
    "variance": (5,),
}


@pytest.fixture(scope="module")
def graph() -> nx.DiGraph:
    proto = build(f"(float[N,4] x, int64 axis) => (float[N,3] y) {{ {NODES} }}", WEIGHTS)
    model = load(proto)
    typing = infer(model)
    return group_graph(model, typing, find_groups(model, typing))


def test_data_goes_from_writers_through_groups_to_readers(graph: nx.DiGraph) -> None:
    ways = {(one[1], other[1]) for one, other in graph.edges if "weight" not in (one[0], other[0])}
    assert ways == {
        ("stem", "stem/width"),
        ("down", "stem/width"),
        ("stem/width", "up"),
        ("up", "up/neurons"),
        ("up/neurons", "down"),
        ("head", "head/neurons"),
    }


def test_weights_belong_to_ops_and_shrink_with_groups(graph: nx.DiGraph) -> None:
    assert dict(graph["weight", "w_up"]) == {
        ("op", "up"): {},
        ("group", "stem/width"): {"axes": (0,)},
        ("group", "up/neurons"): {"axes": (1,)},
    }
    assert dict(graph["weight", "scale"]) == {("op", "norm"): {}, ("group", "up/neurons"): {"axes": (0,)}}
    assert graph.nodes["weight", "w_up"] == {"kind": "weight", "label": "w_up", "shape": (6, 5)}


def test_attributes_of_groups_and_ops(graph: nx.DiGraph) -> None:
    assert graph.nodes["group", "up/neurons"] == {
        "kind": "neurons",
        "label": "up/neurons",
        "size": 5,
        "prunable": True,
        "reason": "",
    }
    frozen = graph.nodes["group", "stem/width"]
    assert (frozen["size"], frozen["prunable"]) == (6, False)
    assert "CumSum" in frozen["reason"]
    assert graph.nodes["op", "norm"] == {"kind": "BatchNormalization", "label": "norm", "order": 2, "reason": ""}
    assert graph.in_degree(("op", "norm")) == 4


def test_an_op_without_a_rule_says_so() -> None:
    text = "(float[N,4] x) => (float[N,6] y) { [up] h = MatMul(x, w_up) [down] y = MatMul(h, w_down) }"
    model = load(build(text, {"w_up": (4, 5), "w_down": (5, 6)}))
    typing = infer(model)
    typing.missing.append(Missing("up", "MatMul", "all frozen"))
    graph = group_graph(model, typing, find_groups(model, typing))
    assert graph.nodes["op", "up"]["reason"] == "all frozen"
    assert graph.nodes["op", "down"]["reason"] == ""
