"""Quantised weights, biases and activations: scales and zero points of an axis shrink with it."""

from __future__ import annotations

import numpy as np

from graphprune.analysis.model_analysis import analyse
from graphprune.runtime.sessions import RuntimeOptions
from graphprune.scoring.magnitude import magnitudes
from tests.axes.cases import Case, all_of, case, check, typed
from tests.axes.oracles import feeds_for
from tests.graphs import random_weight

_RANDOM = np.random.default_rng(0)


def codes(*shape: int) -> np.ndarray:
    return _RANDOM.integers(-100, 100, shape).astype(np.int8)


def biases(*shape: int) -> np.ndarray:
    return _RANDOM.integers(-900, 900, shape).astype(np.int32)


def scales(*shape: int) -> np.ndarray:
    return np.asarray(_RANDOM.uniform(0.005, 0.02, shape), np.float32)


_ONE: dict[str, np.ndarray] = {
    "s": np.array(0.01, np.float32),
    "z": np.array(3, np.int8),
    "s8": np.array(0.02, np.float32),
    "z8": np.array(128, np.uint8),
}
_CONV = """(float[N,3,6,6] x) => (float[N,4,a,b] y) { w0 = DequantizeLinear(q0, s, z) [first] a = Conv(x, w0) b = Relu(a)
{} [last] y = Conv(h, w2) }"""
_FIRST: dict[str, np.ndarray] = {"q0": codes(8, 3, 1, 1), **_ONE}


def conv(body: str, **weights: np.ndarray) -> tuple[str, dict[str, np.ndarray]]:
    width = weights.pop("width", np.array(6)).item()
    text = _CONV.replace("{}", body)
    used: dict[str, np.ndarray] = {
        name: given for name, given in {**_FIRST, **weights}.items() if f"{name})" in text or f"{name}," in text
    }
    return text, used | {"w2": random_weight("w2", (4, width, 1, 1))}


CASES = [
    case("one-scale", *conv("w = DequantizeLinear(q, s, z) [c] h = Conv(b, w)", q=codes(6, 8, 3, 3)), "first:8 c:6"),
    case("a-scale-for-each-filter", *conv("w = DequantizeLinear<axis = 0>(q, sc, zc) v = DequantizeLinear<axis = 0>(p, sb) [c] h = Conv(b, w, v)",
         q=codes(6, 8, 3, 3), sc=scales(6), zc=codes(6), p=biases(6), sb=scales(6)), "first:8 c:6"),
    case("a-scale-for-each-input", *conv("w = DequantizeLinear<axis = 1>(q, sc, zc) [c] h = Conv(b, w)",
         q=codes(6, 8, 3, 3), sc=scales(8), zc=codes(8)), "first:8 c:6"),
    case("depthwise", *conv("w = DequantizeLinear<axis = 0>(q, sc, zc) [c] h = Conv<group = 8>(b, w)",
         q=codes(8, 1, 3, 3), sc=scales(8), zc=codes(8), width=np.array(8)), "first:8"),
    case("activations", *conv("i = QuantizeLinear(b, s8, z8) j = DequantizeLinear(i, s8, z8) w = DequantizeLinear<axis = 0>(q, sc) [c] h = Conv(j, w)",
         q=codes(6, 8, 1, 1), sc=scales(6)), "first:8 c:6"),
    case("activations-with-a-scale-for-each-channel", *conv("i = QuantizeLinear<axis = 1>(b, sc, zc) j = DequantizeLinear<axis = 1>(i, sc, zc) "
         "w = DequantizeLinear(q, s) [c] h = Conv(j, w)", q=codes(6, 8, 1, 1), sc=scales(8), zc=codes(8)), "first:8 c:6"),
    case("weights-quantised-in-the-graph", *conv("i = QuantizeLinear<axis = 0>(q, sc, zc) w = DequantizeLinear<axis = 0>(i, sc, zc) [c] h = Conv(b, w)",
         q=random_weight("q", (6, 8, 1, 1)), sc=scales(6), zc=np.zeros(6, np.int8)), "first:8 c:6"),
    case("of-onnx-runtime", *conv("i = com.microsoft.QuantizeLinear(b, s8, z8) j = com.microsoft.DequantizeLinear(i, s8, z8) "
         "w = com.microsoft.DequantizeLinear<axis = 0>(q, sc, zc) [c] h = Conv(j, w)", q=codes(6, 8, 1, 1), sc=scales(6), zc=codes(6)),
         "first:8 c:6", domains={"com.microsoft": 1}),
    case("transposed", *conv("w = DequantizeLinear<axis = 1>(q, sc) [c] h = ConvTranspose<strides = [2, 2]>(b, w)",
         q=codes(8, 6, 2, 2), sc=scales(6)), "first:8 c:6"),
    case("dense", "(float[N,4] x) => (float[N,5] y) { w0 = DequantizeLinear<axis = 1>(q0, s0) [first] a = MatMul(x, w0) b = Relu(a) "
         "w1 = DequantizeLinear<axis = 0>(q1, s1, z1) v1 = DequantizeLinear<axis = 0>(p1, s1) [c] h = Gemm<transB = 1>(b, w1, v1) [last] y = MatMul(h, w2) }",
         {"q0": codes(4, 8), "s0": scales(8), "q1": codes(6, 8), "s1": scales(6), "z1": codes(6), "p1": biases(6), "w2": (6, 5)}, "first:8 c:6"),
    case("one-bias-for-two-layers", "(float[N,4] x) => (float[N,5] y) { v = DequantizeLinear(p, s) w0 = DequantizeLinear(q0, s) [first] a = Gemm(x, w0, v) "
         "b = Relu(a) w1 = DequantizeLinear(q1, s) [c] h = Gemm(b, w1, v) [last] y = MatMul(h, w2) }",
         {"q0": codes(4, 8), "q1": codes(8, 8), "p": np.zeros(8, np.int32), "s": np.array(0.01, np.float32), "w2": (8, 5)}, "first:8 c:8"),
    case("one-matrix-for-two-layers", "(float[N,4] x, float[N,4] z) => (float[N,5] y) { w0 = DequantizeLinear(q0, s) [first] a = MatMul(x, w0) "
         "b = Relu(a) [again] c = MatMul(z, w0) d = Tanh(c) e = Concat<axis = 1>(b, d) [last] y = MatMul(e, w2) }",
         {"q0": codes(4, 8), "s": np.array(0.01, np.float32), "w2": (16, 5)}, "first:8"),
    case("one-matrix-dequantised-twice", "(float[N,4] x, float[N,4] z) => (float[N,5] y) { w0 = DequantizeLinear(q0, s) [first] a = MatMul(x, w0) "
         "b = Relu(a) w1 = DequantizeLinear(q0, s) [again] c = MatMul(z, w1) d = Tanh(c) e = Concat<axis = 1>(b, d) [last] y = MatMul(e, w2) }",
         {"q0": codes(4, 8), "s": np.array(0.01, np.float32), "w2": (16, 5)}, "first:8"),
    case("recurrent", "(float[S,N,4] x) => (float[1,N,5] y) { w = DequantizeLinear(q, s) r = DequantizeLinear(p, s) "
         "[rnn] , h = GRU<hidden_size = 6>(x, w, r) [last] y = MatMul(h, w2) }",
         {"q": codes(1, 18, 4), "p": codes(1, 18, 6), "s": np.float32(0.01), "w2": (6, 5)}, "rnn:6"),
    case("blocks", "(float[N,4] x) => (float[N,5] y) { [first] a = MatMul(x, w0) b = Relu(a) w1 = DequantizeLinear<axis = 0, block_size = 4>(q1, s1) "
         "[c] h = MatMul(b, w1) [last] y = MatMul(h, w2) }",
         {"w0": (4, 8), "q1": codes(8, 6), "s1": scales(2, 6), "w2": (6, 5)}, "c:6", opset=21, frozen={"first:8": "blocks of it share a scale"}),
    case("few-bits", "(float[N, 4] x) => (float[N, 5] y) { [first] a = MatMul(x, w1) h = com.microsoft.MatMulNBits<K = 32, N = 8, bits = 4, block_size = 16>"
         "(a, q, s, z, , b) [last] y = MatMul(h, w2) }", {"w1": (4, 32), "q": codes(8, 2, 8).astype(np.uint8), "s": scales(8, 2), "z": codes(8, 1).astype(np.uint8),
         "b": (8,), "w2": (8, 5)}, "", domains={"com.microsoft": 1}, frozen={"first:32": "quantised in blocks"}),
]  # fmt: skip  # a table, a row a line


@all_of(CASES)
def test_case(case: Case) -> None:
    check(case)


def test_quantised_weights_count_as_parameters_and_by_what_they_stand_for() -> None:
    dense = next(one for one in CASES if one.name == "dense")
    model, typing, groups = typed(dense)
    cost = analyse(model, feeds_for(dense.proto(), {}), RuntimeOptions(threads=1)).cost
    assert cost.params == 4 * 8 + 8 + 6 * 8 + 6 + 6 + 6 * 5  # zero points are none
    assert cost.macs == 2 * (4 * 8 + 8 * 6 + 6 * 5)
    w = dense.weights
    first = np.asarray(w["q0"]) * np.asarray(w["s0"])
    second = (np.asarray(w["q1"]).astype(np.float32) - np.asarray(w["z1"])[:, None]) * np.asarray(w["s1"])[:, None]
    found = magnitudes(model, typing, next(group for group in groups if group.size == 8), 2, "group")
    np.testing.assert_allclose(found, np.sqrt((first**2).sum(0) + (second**2).sum(0)), rtol=1e-5)
