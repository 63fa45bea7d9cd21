"""Who asks for the shape of a norm asks what the norm reads; where the shape may be another's, nothing moves."""

from __future__ import annotations

import re

import numpy as np
import pytest

from graphprune.analysis.blocks import find_joins
from graphprune.ir.export import to_proto
from graphprune.ir.loading import load
from tests.graphs import assert_same, build, run

ROOT_MEAN_SQUARE = "q = Pow(x, two) v = ReduceMean<axes = [-1]>(q) e = Add(v, eps) r = Sqrt(e) i = Reciprocal(r)"
CONSTANTS = {
    "two": np.array(2, np.float32),
    "eps": np.array(1e-5, np.float32),
    "w": np.ones(4, np.float32),
    "wide": np.ones((3, 1, 4), np.float32),
}
SAME = {
    "activation": "a = Relu(x)",
    "norm": "a = LayerNormalization(x, w)",
    "norm-of-parts": f"{ROOT_MEAN_SQUARE} n = Mul(x, i) a = Mul(w, n)",
    "norm-that-divides": f"{ROOT_MEAN_SQUARE} n = Div(x, r) m = Cast<to = 1>(n) a = Mul(m, w)",
    "centred": "m = ReduceMean<axes = [-1]>(x) c = Sub(x, m) a = Tanh(c)",
    "number": "a = Mul(x, two)",
}
OTHER = {
    "grows-along-a-constant": "a = Mul(x, wide)",
    "added-data": "a = Add(x, z)",
    "turned": "a = Transpose<perm = [0, 2, 1]>(x)",
    "reduced-without-its-axis": "m = ReduceMean<keepdims = 0, axes = [0]>(x) a = Sub(x, m)",
    "number-minus-another": "m = ReduceMean<axes = [-1]>(z) a = Sub(x, m)",
}


def asked(body: str) -> str:
    """The tensor whose shape is asked for, once the network is loaded; its numbers are the same."""
    text = f"(float[B,S,4] x, float[B,S,4] z) => (float[R,T,U] y, int64[3] s) {{ {body} s = Shape(a) y = Neg(a) }}"
    used = {name: value for name, value in CONSTANTS.items() if name in re.split(r"\W+", body)}
    proto = build(text, used)
    model = load(proto)
    feeds = {name: np.ones((1, 5, 4), np.float32) + index for index, name in enumerate("xz")}
    assert_same(run(to_proto(model), feeds), run(proto, feeds))
    shape = next(node for node in model.graph.nodes if node.op == "Shape")
    return str(shape.inputs[0].name)


@pytest.mark.parametrize("body", SAME.values(), ids=SAME)
def test_the_source_is_asked(body: str) -> None:
    assert asked(body) == "x"


@pytest.mark.parametrize("body", OTHER.values(), ids=OTHER)
def test_another_shape_is_not(body: str) -> None:
    assert asked(body) == "a"


def test_a_norm_whose_shape_is_asked_elsewhere_leaves_with_its_block() -> None:
    body = "a = Relu(x) n = LayerNormalization(a, w) s = Shape(n) h = MatMul(n, m) b = Add(a, h) y = Relu(b)"
    proto = build(
        f"(float[B,S,4] x) => (float[B,S,4] y, float[P,Q,R] p) {{ {body} p = ConstantOfShape(s) }}",
        {"w": np.ones(4, np.float32), "m": np.eye(4, dtype=np.float32)},
    )
    (join,) = find_joins(load(proto))
    assert join.block is not None, join.refusal
    assert len(join.block.nodes) == 4  # norm, layer, join and the activation behind it


@pytest.mark.parametrize("op", ["Concat<axis = 1>", "Sum", "Max"])
def test_a_join_of_one_is_what_it_reads(op: str) -> None:
    proto = build(f"(float[B,4] x) => (float[B,4] y) {{ a = {op}(x) y = Relu(a) }}")
    model = load(proto)
    assert [node.op for node in model.graph.nodes] == ["Relu"]
