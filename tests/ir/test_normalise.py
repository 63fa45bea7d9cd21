"""Normalisation: functions inlined, constants folded, copies dropped, names unique; and what must not be touched."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest

from graphprune.ir.export import to_proto
from graphprune.ir.loading import load
from tests.graphs import assert_same, build, initialisers, normal_form, ops, random_feeds, random_weight, run


def test_local_functions_are_inlined() -> None:
    proto = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17, "local" : 1]>
        net (float[N,4] x) => (float[N,4] y) { a = local.twice<alpha = 3.0>(x) y = local.twice<alpha = 0.5>(a) }
        <opset_import: ["" : 17, "local" : 1], domain: "local">
        twice <alpha>(v) => (w) { c = Constant<value_float: float = @alpha>() s = Mul(v, c) w = local.leaf(s, v) }
        <opset_import: ["" : 17], domain: "local">
        leaf (p, q) => (r) { t = Tanh(p) r = Sub(t, q) }"""
    )
    out = normal_form(proto)
    assert not out.functions
    assert sorted(ops(out)) == ["Mul", "Mul", "Sub", "Sub", "Tanh", "Tanh"]


def test_opset_of_an_inlined_function_is_imported() -> None:
    proto = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17, "local" : 1]>
        net (float[N,4] x) => (float[N,4] y) { y = local.scaled(x) }
        <opset_import: ["" : 17, "ai.onnx.ml" : 3], domain: "local">
        scaled (v) => (w) { w = ai.onnx.ml.Scaler<offset = [0.5], scale = [2.0]>(v) }"""
    )
    assert ("ai.onnx.ml", 3) in [(o.domain, o.version) for o in normal_form(proto).opset_import]


def test_constants_are_folded() -> None:
    proto = build(
        """(float[N,4] x) => (float[N,4] y) {
          two = Constant<value = float[1] {2.0}>()
          wt = Transpose<perm = [1, 0]>(w)
          scaled = Mul(wt, two)
          y = MatMul(x, scaled)
        }""",
        {"w": (4, 4)},
    )
    out = normal_form(proto)
    assert ops(out) == ["MatMul"]
    np.testing.assert_allclose(initialisers(out)["scaled"], 2 * random_weight("w", (4, 4)).T)


@pytest.mark.parametrize(
    ("attribute", "expected"),
    [
        ("value = float {2.0}", np.array(2, np.float32)),
        ("value_float = 2.0", np.array(2, np.float32)),
        ("value_floats = [2.0, 3.0]", np.array([2, 3], np.float32)),
        ("value_int = 2", np.array(2, np.int64)),
        ("value_ints = [2, 3]", np.array([2, 3], np.int64)),
    ],
)
def test_constant_nodes_keep_their_type(attribute: str, expected: np.ndarray) -> None:
    dtype = {"float32": "float", "int64": "int64"}[str(expected.dtype)]
    proto = build(f"({dtype}[N,2] x) => ({dtype}[N,2] y) {{ c = Constant<{attribute}>() y = Mul(x, c) }}")
    out = normal_form(proto)
    assert ops(out) == ["Mul"]
    np.testing.assert_array_equal(initialisers(out)["c"], expected, strict=True)


@pytest.mark.parametrize("constant", ["w", "Constant<value = float[1] {2.0}>()"])
def test_identity_of_a_constant_is_folded(constant: str) -> None:
    first = f"c = {constant} s = Identity(c)" if "(" in constant else f"s = Identity({constant})"
    proto = build(f"(float[N,4] x) => (float[N,4] y) {{ {first} y = Mul(x, s) }}", {"w": (4,)})
    assert ops(normal_form(proto)) == ["Mul"]


def test_static_shape_arithmetic_is_folded() -> None:
    proto = build(
        """(float[N,2,3,4] x) => (float[N,24] y) {
          s = Shape(x)
          zero = Constant<value = int64 {0}>()
          rest = Constant<value = int64[3] {1, 2, -1}>()
          minus = Constant<value = int64[1] {-1}>()
          sizes = Gather(s, rest)
          size = ReduceProd<axes = [0], keepdims = 1>(sizes)
          target = Concat<axis = 0>(minus, size)
          y = Reshape(x, target)
        }"""
    )
    out = normal_form(proto)
    assert ops(out) == ["Reshape"]
    np.testing.assert_array_equal(initialisers(out)["target"], [-1, 24])


def test_dynamic_shape_arithmetic_stays() -> None:
    proto = build(
        """(float[N,2,3] x) => (float[N,6] y) {
          s = Shape(x)
          zero = Constant<value = int64[1] {0}>()
          minus = Constant<value = int64[1] {-1}>()
          n = Gather(s, zero)
          target = Concat<axis = 0>(n, minus)
          y = Reshape(x, target)
        }"""
    )
    assert "Shape" in ops(normal_form(proto))


@pytest.mark.parametrize("size", [8, 7])
def test_float_factor_of_a_size_keeps_its_meaning(size: int) -> None:
    proto = build(
        f"""(float[N,L] x, float[N,{size}] z) => (float[N,K] y, float[N,M] v) {{
          axis = Constant<value = int64[1] {{1}}>()
          zero = Constant<value = int64[1] {{0}}>()
          half = Constant<value = float {{0.5}}>()
          s = Shape(x)
          n = Gather(s, axis)
          f = Cast<to = 1>(n)
          h = Mul(f, half)
          end = Cast<to = 7>(h)
          y = Slice(x, zero, end, axis)
          s2 = Shape(z)
          n2 = Gather(s2, axis)
          f2 = Cast<to = 1>(n2)
          h2 = Mul(f2, half)
          end2 = Cast<to = 7>(h2)
          v = Slice(z, zero, end2, axis)
        }}"""
    )
    feeds = {name: np.arange(2 * size, dtype=np.float32).reshape(2, size) for name in ("x", "z")}
    out = normal_form(proto, feeds)
    assert [array.shape for array in run(out, feeds)] == [(2, size // 2)] * 2


def test_dead_nodes_and_unused_initialisers_are_dropped() -> None:
    proto = build(
        "(float[N,4] x) => (float[N,4] y) { dead = MatMul(x, v) deader = Relu(dead) y = MatMul(x, w) }",
        {"w": (4, 4), "v": (4, 4), "unused": (5, 5)},
    )
    out = normal_form(proto)
    assert ops(out) == ["MatMul"]
    assert initialisers(out).keys() == {"w"}


def test_identity_and_inference_dropout_are_dropped() -> None:
    proto = build(
        """(float[N,4] x) => (float[N,4] y) {
          ratio = Constant<value = float {0.5}>()
          off = Constant<value = bool {0}>()
          shared = Identity(w)
          a = MatMul(x, w)
          b = Identity(a)
          c, mask = Dropout(b, ratio, off)
          d = Dropout(c, ratio)
          y = MatMul(d, shared)
        }""",
        {"w": (4, 4)},
    )
    out = normal_form(proto)
    assert ops(out) == ["MatMul", "MatMul"]
    assert initialisers(out).keys() == {"w"}


def test_identity_before_an_output_keeps_the_outputs_name() -> None:
    proto = build(
        "(float[N,4] x) => (float[N,4] y, float[N,4] z) { h = MatMul(x, w) y = Identity(h) z = Identity(x) }",
        {"w": (4, 4)},
    )
    normal_form(proto)


def test_training_dropout_and_used_masks_stay() -> None:
    proto = build(
        """(float[N,4] x) => (float[N,4] y, bool[N,4] mask) {
          ratio = Constant<value = float {0.5}>()
          on = Constant<value = bool {1}>()
          off = Constant<value = bool {0}>()
          a = Dropout<seed = 1>(x, ratio, on)
          y, mask = Dropout(a, ratio, off)
        }"""
    )
    assert ops(to_proto(load(proto))) == ["Dropout", "Dropout"]


def test_quantised_weights_are_not_folded() -> None:
    proto = build(
        "(float[N,4] x) => (float[N,4] y) { w = DequantizeLinear(q, scale, zero) y = MatMul(x, w) }",
        {
            "q": np.arange(16, dtype=np.int8).reshape(4, 4),
            "scale": np.array(0.1, np.float32),
            "zero": np.array(0, np.int8),
        },
    )
    assert ops(normal_form(proto)) == ["DequantizeLinear", "MatMul"]


@pytest.mark.parametrize(
    "noise",
    [
        "noise = RandomNormal<shape = [1, 4]>()",
        "noise = RandomUniform<shape = [1, 4]>()",
        "noise = RandomNormalLike(w)",
        "noise = RandomUniformLike(w)",
        "bits = Bernoulli(p) noise = MatMul(bits, w)",
    ],
)
def test_random_numbers_stay_random(noise: str) -> None:
    proto = build(
        f"(float[N,4] x) => (float[N,4] y) {{ {noise} scaled = Mul(noise, two) y = Add(x, scaled) }}",
        {"w": (4, 4), "p": np.full((1, 4), 0.5, np.float32), "two": np.full((1, 4), 2, np.float32)},
    )
    assert ops(to_proto(load(proto))) == ops(proto)


def test_node_names_become_unique() -> None:
    proto = build(
        "(float[N,4] x) => (float[N,4] y) { a = Relu(x) b = Relu(a) c = Tanh(b) d = Tanh(c) y = Relu(d) }",
    )
    for node, name in zip(proto.graph.node, ["", "same", "same", "Relu_0", ""], strict=True):
        node.name = name
    out = to_proto(load(proto))
    names = [node.name for node in out.graph.node]
    assert "" not in names
    assert len(set(names)) == 5
    assert {"same", "Relu_0"} <= set(names)


def test_sizes_that_only_the_fold_reveals_are_folded_too() -> None:
    """A size computed in floating point is unknown at first; what is computed from the shape behind it is constant."""
    proto = build(
        """(float[N,3,8,8] x) => (float[N,Q,R] y) {
          t = Shape(x) h = Gather(t, two) f = Cast<to = 1>(h) d = Div(f, half) g = Floor(d) i = Cast<to = 7>(g)
          n = Gather(t, zero) target = Concat<axis = 0>(n, rest, i) r = Reshape(x, target)
          u = Shape(r) l = Slice(u, last, end) k = Cast<to = 1>(l) s = Sqrt(k) y = Mul(r, s)
        }""",
        {
            "two": np.array([2]), "zero": np.array([0]), "half": np.array([2], np.float32), "rest": np.array([48]),
            "last": np.array([-1]), "end": np.array([2**31]),
        },
    )  # fmt: skip  # small constants, two a line
    model = load(proto)
    assert "Sqrt" not in [node.op for node in model.graph.nodes]
    feeds = random_feeds(proto)
    assert_same(run(to_proto(model), feeds), run(proto, feeds))
