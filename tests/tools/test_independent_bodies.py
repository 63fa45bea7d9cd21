"""The second opinion looks into bodies, by the numbers of their weights."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from graphprune.analysis.groups import find_groups
from graphprune.axes.infer import infer
from graphprune.ir.export import to_proto
from graphprune.ir.loading import load
from graphprune.rewrite import remove_units
from tests.axes.oracles import keep_share
from tests.graphs import build
from tools.checks.independent import agree
from tools.checks.independent_bodies import Disagreement

TWO = """(float[N, 4] x, bool c) => (float[N, 4] y) { y = If(c) <
    then_branch = yes () => (float[N, 4] t) { [one] a = MatMul(x, w1) b = Relu(a) [two] t = MatMul(b, w2) },
    else_branch = no () => (float[N, 4] e) { [one] a = MatMul(x, v1) b = Relu(a) [two] e = MatMul(b, v2) }> }"""
WEIGHTS = {"w1": (4, 8), "w2": (8, 4), "v1": (4, 6), "v2": (6, 4)}


def cut() -> tuple[onnx.ModelProto, onnx.ModelProto]:
    proto = build(TWO, WEIGHTS)
    for tensor in list(proto.graph.initializer):  # each branch holds its own, one as an initialiser, one as a node
        body = proto.graph.node[0].attribute[0 if tensor.name.startswith("w") else 1].g
        if tensor.name.endswith("1"):
            body.initializer.append(tensor)
        else:
            body.node.insert(0, onnx.helper.make_node("Constant", [], [tensor.name], value=tensor))
    del proto.graph.initializer[:]
    model = load(proto)
    typing = infer(model)
    kept = keep_share([group for group in find_groups(model, typing) if group.is_prunable], 0.4)
    return proto, to_proto(remove_units(model, typing, kept))


@pytest.mark.parametrize("condition", [True, False])
def test_branches(condition: bool) -> None:
    original, pruned = cut()
    feeds = {"x": np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32), "c": np.array(condition)}
    found = agree(original, pruned, feeds)
    assert found.weights == 4
    assert found.zeroed > 0
    for tensor in pruned.graph.initializer:
        if tensor.dims[-1] == 4:
            wrong = onnx.numpy_helper.to_array(tensor)[::-1]
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(wrong), tensor.name))
    with pytest.raises(Disagreement):
        agree(original, pruned, feeds)
