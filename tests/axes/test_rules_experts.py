"""Mixtures of experts stay whole, and what is around them is not lost."""

from __future__ import annotations

import numpy as np
import pytest

from graphprune.analysis.cost import model_cost, node_macs
from graphprune.analysis.unit_cost import UnitCost
from graphprune.axes.infer import infer
from graphprune.ir.loading import load
from tests.axes.cases import Case, all_of, case, check

_TEXT = (
    "(float[N, 4] x) => (float[N, 5] y) { [first] a = MatMul(x, w1) [router] r = MatMul(a, wr) "
    'h = com.microsoft.MoE<k = 2, activation_type = "relu">(a, r, f1, , f2) [inner] m = MatMul(h, w2) '
    "b = Relu(m) [last] y = MatMul(b, w3) }"
)
_WEIGHTS = {"w1": (4, 8), "wr": (8, 3), "f1": (3, 16, 8), "f2": (3, 8, 16), "w2": (8, 6), "w3": (6, 5)}
_CODES = np.full((3, 16, 8), 100, np.uint8)
CASES = [
    case("MoE", _TEXT, _WEIGHTS, "inner:6", domains={"com.microsoft": 1},
         frozen={"first:8": "experts of MoE", "router:3": "chooses among all experts"}),
    case("QMoE", _TEXT.replace("MoE<k = 2", "QMoE<k = 2, expert_weight_bits = 8").replace("f1, , f2)", "f1, s1, , f2, s2)"),
         _WEIGHTS | {"f1": _CODES, "s1": (3, 16), "f2": _CODES.reshape(3, 8, 16), "s2": (3, 8)}, "inner:6", domains={"com.microsoft": 1}, sizes=()),
]  # fmt: skip  # a table, a row a line


@all_of(CASES)
def test_case(case: Case) -> None:
    check(case)


@pytest.mark.parametrize("tokens", [1, 7])
def test_each_token_costs_as_many_experts_as_it_goes_to(tokens: int) -> None:
    model = load(CASES[0].proto())
    (node,) = (node for node in model.graph.nodes if node.op == "MoE")
    sizes = {tensor.name: (tokens, 8) for tensor in (node.inputs[0], node.outputs[0])}
    assert node_macs(node, sizes) == tokens * 2 * (16 * 8 + 8 * 16)
    assert UnitCost(model, infer(model), sizes).macs == model_cost(model, sizes).macs
