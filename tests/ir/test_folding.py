"""Constant folding: one run for all of it, and what does not run stays alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from graphprune.ir import folding
from graphprune.ir.export import to_proto
from graphprune.ir.loading import load
from tests.graphs import build, initialisers, normal_form, ops, random_weight


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[onnx.ModelProto]:
    """What is given to the runtime to fold."""
    given: list[onnx.ModelProto] = []
    open_session = folding._session

    def counted(proto: onnx.ModelProto) -> Any:
        given.append(proto)
        return open_session(proto)

    monkeypatch.setattr(folding, "_session", counted)
    return given


def chain(length: int) -> str:
    return " ".join(f"a{i + 1} = Neg(a{i})" for i in range(length))


def test_all_constants_are_computed_in_one_run(sessions: list[onnx.ModelProto]) -> None:
    """However many weights are standardised: the graph was copied once for each."""
    scaled = " ".join(f"m{i} = ReduceMean<axes = [0]>(w{i}) s{i} = Sub(w{i}, m{i})" for i in range(20))
    used = " ".join(f"x{i + 1} = MatMul(x{i}, s{i})" for i in range(20))
    proto = build(
        f"(float[N,4] x) => (float[N,4] y) {{ {scaled} x0 = Identity(x) {used} y = Identity(x20) }}",
        {f"w{i}": (4, 4) for i in range(20)},
    )
    out = normal_form(proto)
    assert ops(out) == ["MatMul"] * 20 + ["Identity"]
    assert len(sessions) == 1
    weight = random_weight("w3", (4, 4))
    np.testing.assert_allclose(initialisers(out)["s3"], weight - weight.mean(0), rtol=1e-6)


def test_large_constants_are_not_copied_into_the_graph(sessions: list[onnx.ModelProto]) -> None:
    proto = build("(float[N,64] x) => (float[N,64] y) { t = Transpose(w) y = MatMul(x, t) }", {"w": (64, 64)})
    assert ops(normal_form(proto)) == ["MatMul"]
    assert not sessions[0].graph.initializer


def test_a_node_that_does_not_run_stays_and_the_others_are_folded(sessions: list[onnx.ModelProto]) -> None:
    """No runtime knows ``local::odd``; what leads to it and what stands beside it is folded all the same."""
    proto = build(
        f"""(float[N,4] x) => (float[N,4] y) {{
          a0 = Neg(w) {chain(30)} odd = local.odd(a30) after = Neg(odd)
          beside = Neg(v) moved = Add(x, beside) y = Mul(moved, after)
        }}""",
        {"w": (4,), "v": (4,)},
    )
    proto.opset_import.append(onnx.helper.make_opsetid("local", 1))
    out = to_proto(load(proto))
    assert ops(out) == ["Add", "odd", "Neg", "Mul"]
    np.testing.assert_allclose(initialisers(out)["a30"], -random_weight("w", (4,)))
    np.testing.assert_allclose(initialisers(out)["beside"], -random_weight("v", (4,)))
    assert len(sessions) < 20  # halves, not node by node


def test_numbers_of_chance_are_not_folded() -> None:
    proto = build("(float[N,4] x) => (float[N,4] y) { r = RandomNormal<shape = [4]>() s = Neg(r) y = Add(x, s) }")
    assert ops(normal_form(proto)) == ["RandomNormal", "Neg", "Add"]


def test_what_would_be_large_is_not_folded() -> None:
    proto = build(
        """(float[N,4] x) => (float[N,5000] y) {
          s = Constant<value = int64[2] {5000, 5000}>() big = Expand(w, s)
          picked = ArgMax<axis = 1, keepdims = 0>(x) y = Gather(big, picked)
        }""",
        {"w": (1,)},
    )
    assert ops(normal_form(proto)) == ["ArgMax", "Expand", "Gather"]
