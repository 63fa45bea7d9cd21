"""Norms fused with sums, behind a removal: as the builder writes a decoder of fewer layers."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest

from graphprune.analysis.model_analysis import ModelAnalysis, analyse
from graphprune.ir.export import to_proto
from graphprune.ir.loading import load
from graphprune.rewrite import remove_blocks
from graphprune.runtime.sessions import RuntimeOptions
from tests.decoder_graphs import Sizes, fused_decoder
from tests.decoder_steps import looked_at
from tests.graphs import assert_same, build, run

LAYERS = 4


def without(analysis: ModelAnalysis, *gone: int) -> onnx.ModelProto:
    """Attention and MLP of these layers gone."""
    blocks = [join.block for join in analysis.joins if join.block]
    return to_proto(remove_blocks(analysis.model, [block for n in gone for block in blocks[2 * n : 2 * n + 2]]))


@pytest.mark.parametrize("gone", [(1,), (2, 3), (1, 2, 3), (1, 3)])
def test_whole_layers_leave_no_norm_behind(gone: tuple[int, ...]) -> None:
    small = without(looked_at(fused_decoder(Sizes(layers=LAYERS))), *gone)
    expected = fused_decoder(Sizes(layers=LAYERS - len(gone)))
    assert Counter(node.op_type for node in small.graph.node) == Counter(node.op_type for node in expected.graph.node)
    held = {tensor.name for tensor in small.graph.initializer}
    assert not held & {f"{name}{layer}" for layer in gone for name in ("norm", "post", "qkv", "down")}
    epsilons = {a.f for node in small.graph.node for a in node.attribute if a.name == "epsilon"}
    assert epsilons == {a.f for node in expected.graph.node for a in node.attribute if a.name == "epsilon"}


SUMS = """(float[N,4] x) => (float[N,4] y) {{
    [first] a, m, v, s = com.microsoft.SkipLayerNormalization<epsilon = 0.01>(x, x, g1, b1{bias})
    [branch] c = MatMul(a, w)
    [last] y = com.microsoft.SkipLayerNormalization<epsilon = 0.04>(s, c, g2, b2) {tail} }}"""
SHAPES: dict[str, tuple[int, ...]] = {"g1": (4,), "b1": (4,), "g2": (4,), "b2": (4,), "w": (4, 4)}


@pytest.mark.parametrize(
    ("bias", "tail", "norms"),
    [("", "", 1), (", bias", "", 2), ("", "[other] z = Relu(a)", 2), ("", "[other] z = Relu(v)", 2)],
    ids=["joined", "the sum has a bias", "the norm has another reader", "the deviation has a reader"],
)
def test_norms_become_one_where_nothing_else_reads_the_first(bias: str, tail: str, norms: int) -> None:
    text = SUMS.format(bias=bias, tail=tail)
    text = text.replace("(float[N,4] y)", "(float[N,4] y, float[N,M] z)") if tail else text
    proto = build(text, SHAPES | ({"bias": (4,)} if bias else {}))
    proto.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    analysis = analyse(load(proto), {"x": np.zeros((2, 4), np.float32)}, RuntimeOptions(threads=1))
    (block,) = [join.block for join in analysis.joins if join.block]
    small = to_proto(remove_blocks(analysis.model, [block]))
    assert sum(node.op_type == "SkipLayerNormalization" for node in small.graph.node) == norms
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    x = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    total = 2 * x + weights.get("bias", 0)
    centred = total - total.mean(1, keepdims=True)
    wanted = centred / np.sqrt((centred**2).mean(1, keepdims=True) + 0.04) * weights["g2"] + weights["b2"]
    assert_same(run(small, {"x": x})[:1], [wanted])
