"""Experts may go whole, with their scores; what is around them is not lost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graphprune.analysis.cost import model_cost, node_macs
from graphprune.analysis.groups import find_groups
from graphprune.analysis.unit_cost import UnitCost
from graphprune.axes.infer import infer
from graphprune.ir.loading import load
from tests.axes.cases import Case, all_of, case, check

_MOE = 'com.microsoft.MoE<k = 2, activation_type = "relu">(a, r, f1, b1, f2)'
_QMOE = (
    'com.microsoft.QMoE<k = 2, activation_type = "relu", expert_weight_bits = 8>'
    "(a, r, f1, s1, , f2, s2, , , , , z1, z2)"
)
_FUSED = {"f1": (5, 16, 32), "b1": (5, 16), "f2": (5, 32, 16)}
_CODES = np.random.default_rng(0).integers(0, 256, (5, 16, 32)).astype(np.uint8)
_QUANTISED = {
    "f1": _CODES, "s1": (5, 16), "z1": _CODES[:, :, 0], "f2": _CODES.reshape(5, 32, 16), "s2": (5, 32), "z2": _CODES[:, 0],
}  # fmt: skip  # operand by operand
_DOMAINS = {"com.microsoft": 1}
_CHOSEN = "p = Softmax(r) v, i = TopK(p, k) "
_NUMBERS = {"k": np.array([2]), "at0": np.array([0]), "at1": np.array([1]), "at2": np.array([2])}
_STACK = {"stack": (5, 32, 32)}
# The weights of each token's experts, picked from a stack, as transformers' batched experts.
_BATCHED = (
    "[spread] e = Gather(stack, i) u = Unsqueeze(a, at1) u2 = Unsqueeze(u, at1) m = MatMul(u2, e) n = Squeeze(m, at2) "
    "w = Unsqueeze(v, at2) s = Mul(n, w) h = ReduceSum<keepdims = 0>(s, at1)"
)
# The weights of all experts, and a matrix of shares that is zero for those not chosen.
_DENSE = (
    "o = OneHot(i, depth, values) w = Unsqueeze(v, at2) d = Mul(o, w) t = ReduceSum<keepdims = 0>(d, at1) "
    "u = Unsqueeze(a, at0) [spread] m = MatMul(u, stack) n = Transpose<perm = [1, 0, 2]>(m) "
    "w2 = Unsqueeze(t, at2) s = Mul(n, w2) h = ReduceSum<keepdims = 0>(s, at1)"
)
_ONE_HOT = {"depth": np.array(5), "values": np.array([0, 1], np.float32)}


def _text(body: str, router: str = "[router] r = MatMul(a, wr) ", outputs: str = "float[N, 5] y") -> str:
    inner = "[inner] g = MatMul(h, wi) b = Relu(g) [last] y = MatMul(b, wl)"
    return f"(float[N, 4] x) => ({outputs}) {{ [first] a = MatMul(x, wf) {router}{body} {inner} }}"


def _weights(*more: dict[str, Any]) -> dict[str, Any]:
    known = {"wf": (4, 32), "wr": (32, 5), "wi": (32, 6), "wl": (6, 5)}
    for each in more:
        known |= each
    return known


CASES = [
    case("MoE", _text(f"h = {_MOE}"), _weights(_FUSED), "router:5 inner:6", domains=_DOMAINS, frozen={"first:32": "experts of MoE"}),
    case("QMoE", _text(f"h = {_QMOE}"), _weights(_QUANTISED), "router:5 inner:6", domains=_DOMAINS),
    case("scores reshaped", _text(f"h = {_MOE}", "[router] q = MatMul(a, wr) r = Reshape(q, rows) "),
         _weights(_FUSED, {"rows": np.array([-1, 5])}), "router:5 inner:6", domains=_DOMAINS),
    case("shares given", _text(f"r = Softmax(q) h = {_MOE}", "[router] q = MatMul(a, wr) "), _weights(_FUSED), "router:5 inner:6",
         domains=_DOMAINS),
    case("all are chosen", _text(f"h = {_MOE.replace('k = 2', 'k = 5')}"), _weights(_FUSED), "inner:6", domains=_DOMAINS,
         frozen={"router:5": "all 5 of it are chosen"}),
    case("picked from a stack", _text(_CHOSEN + _BATCHED), _weights(_NUMBERS, _STACK), "router:5 inner:6 first:32 spread:32"),
    case("one of those that are chosen", _text(_CHOSEN + "j = Gather<axis = 1>(i, one) v1 = Gather<axis = 1>(v, one) "
         + _BATCHED.replace("stack, i", "stack, j").replace("(v,", "(v1,")),
         _weights(_NUMBERS, _STACK, {"one": np.array([1])}), "router:5 inner:6 first:32 spread:32"),
    case("shares gathered", _text("p = Sigmoid(r) n0, i = TopK(r, k) v = GatherElements<axis = 1>(p, i) " + _BATCHED),
         _weights(_NUMBERS, _STACK), "router:5 inner:6 first:32 spread:32"),
    case("several routers", _text(_CHOSEN.replace("(r)", "(rr)") + _BATCHED, "[router] r = MatMul(a, wr) [more] r2 = MatMul(a, wm) "
         "rr = Concat<axis = 1>(r, r2) "), _weights(_NUMBERS, {"stack": (8, 32, 32), "wm": (32, 3)}),
         "inner:6 first:32 spread:32", frozen={"router:5": "several axes in one", "more:3": "several axes in one"}),
    case("a number as a size", _text(_CHOSEN + _BATCHED + " [mean] r0 = ReduceMean<axes = [0], keepdims = 0>(r) z, i2 = TopK(r0, k) "
         "t = Tile(a, i2) y2 = ReduceSum(t)", outputs="float[N, 5] y, float[1, 1] y2"), _weights(_NUMBERS, _STACK),
         "inner:6 spread:32", missing="this use of Tile", frozen={"router:5": "Tile computes with what is chosen"}),
    case("more classes than experts", _text(_CHOSEN + _DENSE), _weights(_NUMBERS, {"stack": (6, 32, 32)}, _ONE_HOT,
         {"depth": np.array(6)}), "inner:6 first:32 spread:32", frozen={"router:5": "OneHot counts more than it"}),
    case("mixed by other shares", _text("h = " + _QMOE.replace("z1, z2)", "z1, z2, , mix)"), "[router] r = MatMul(a, wr) [mixer] mix = MatMul(a, wm) "),
         _weights(_QUANTISED, {"wm": (32, 5)}), "router:5 inner:6", domains=_DOMAINS, sizes=()),
    case("a scale for all", _text("h = " + _QMOE), _weights(_QUANTISED, {"s1": (1, 16)}), "router:5 inner:6", domains=_DOMAINS,
         sizes=()),
    case("shares spread out", _text(_CHOSEN + _DENSE), _weights(_NUMBERS, _STACK, _ONE_HOT), "router:5 inner:6 first:32 spread:32"),
    case("the shape of the numbers", _text(_CHOSEN + "z = Shape(i) j = Reshape(i, z) " + _BATCHED.replace("stack, i", "stack, j")),
         _weights(_NUMBERS, _STACK), "router:5 inner:6 first:32 spread:32"),
    case("a number is computed with", _text(_CHOSEN + "j = Mul(i, at1) " + _BATCHED.replace("stack, i", "stack, j")),
         _weights(_NUMBERS, _STACK), "inner:6 first:32 spread:32", frozen={"router:5": "Mul computes with what is chosen"}),
    case("a number leaves", _text(_CHOSEN + _BATCHED, outputs="float[N, 5] y, int64[N, 2] i"), _weights(_NUMBERS, _STACK),
         "inner:6 first:32 spread:32", frozen={"router:5": "an index of it leaves the graph"}),
    case("nodes of their own", _text(_CHOSEN + _DENSE + " z = Gather<axis = 1>(t, at0) z2 = Mul(z, z) y2 = Identity(z2)",
         outputs="float[N, 5] y, float[N, 1] y2"), _weights(_NUMBERS, _STACK, _ONE_HOT), "inner:6 first:32 spread:32",
         frozen={"router:5": "nodes of its own"}),
]  # fmt: skip  # a table, a row a line


@all_of(CASES)
def test_case(case: Case) -> None:
    check(case)


def test_as_many_experts_stay_as_a_token_goes_to() -> None:
    model = load(CASES[0].proto())
    assert {group.kind: group.least for group in find_groups(model, infer(model))} == {"neurons": 1, "experts": 2}


@pytest.mark.parametrize("tokens", [1, 7])
def test_each_token_costs_as_many_experts_as_it_goes_to(tokens: int) -> None:
    model = load(CASES[0].proto())
    (node,) = (node for node in model.graph.nodes if node.op == "MoE")
    sizes = {tensor.name: (tokens, 32) for tensor in (node.inputs[0], node.outputs[0])}
    assert node_macs(node, sizes) == tokens * 2 * (16 * 32 + 32 * 16)
    assert UnitCost(model, infer(model), sizes).macs == model_cost(model, sizes).macs


@pytest.mark.parametrize("bits", [4, 8])
def test_packed_weights_count_one_by_one(bits: int) -> None:
    width = 32 * bits // 8
    text = _text("h = " + _QMOE.replace("bits = 8", f"bits = {bits}"))
    stacks = {"f1": _CODES[..., :width], "f2": _CODES.reshape(5, 32, 16)[..., : 16 * bits // 8]}
    proto = case("QMoE", text, _weights(_QUANTISED, stacks), domains=_DOMAINS).proto()
    model = load(proto)
    (node,) = (node for node in model.graph.nodes if node.op == "QMoE")
    sizes = {tensor.name: (3, 32) for tensor in (node.inputs[0], node.outputs[0])}
    assert node_macs(node, sizes) == 3 * 2 * (16 * 32 + 32 * 16)
    dense = 4 * 32 + 32 * 5 + 32 * 6 + 6 * 5
    assert model_cost(model, {}).params == dense + 5 * (16 * 32 + 32 * 16) + 5 * (16 + 32)
