"""What no rule covers is frozen and reported by name, never guessed."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from graphprune.analysis.groups import find_groups
from graphprune.axes import algebra
from graphprune.axes.infer import infer
from graphprune.ir.export import to_proto
from graphprune.ir.loading import load
from tests.axes.cases import Case, Weights, all_of, between, case, check, describe, parse, typed
from tests.axes.oracles import check_rewrite, feeds_for, keep_share

W: Weights = {"w1": (4, 8), "w2": (8, 5)}

CASES = [
    case("operator-without-a-rule", between('[odd] h = Det(u)').replace("MatMul(x, w1)", "MatMul(x, w1) u = Reshape(a, square)"),
         {"w1": (4, 16), "w2": (1, 5), "square": np.array([0, 4, 4])}, "", frozen={"first:4": "no axis rule for Det"}, missing="odd Det: no axis rule",
         sizes=()),
    case("domain-without-rules", between("[odd] h = my.domain.Blur(a)"), W, "", domains={"my.domain": 1},
         frozen={"first:8": "no axis rule for my.domain::Blur"}, missing="odd my.domain::Blur", sizes=()),
    case("operator-of-another-domain", between("[odd] h = my.domain.Relu(a)"), W, "", domains={"my.domain": 1},
         frozen={"first:8": "no axis rule for my.domain::Relu"}, missing="odd my.domain::Relu", sizes=()),
    case("what-comes-before-is-free", between("[up] u = MatMul(a, wu) [odd] e = my.domain.Blur(u) [down] h = MatMul(e, wd)"),
         {"w1": (4, 8), "wu": (8, 6), "wd": (6, 7), "w2": (7, 5)}, "first:8", domains={"my.domain": 1},
         frozen={"up:6": "no axis rule"}, missing="odd my.domain::Blur", sizes=()),
    case("If-that-takes-from-outside", "(float[N, 4] x, bool c) => (float[N, 5] y) { [first] a = MatMul(x, w1) [second] b = MatMul(x, v1) "
         "[choice] h = If(c) <then_branch = yes () => (float[N, 8] t) { t = Relu(a) }, else_branch = no () => (float[N, 8] e) { e = Neg(a) }> "
         "s = Add(h, b) [last] y = MatMul(s, w2) }", {**W, "v1": (4, 8)}, "",
         frozen={"first:8": "border of a body of", "second:8": "border of a body of"}),
    case("If-on-constants-of-others", "(float[N, 4] x, bool c) => (float[N, 5] y) { [first] a = MatMul(x, w1) h = Add(a, bias) [last] z = MatMul(h, w2) "
         "[choice] f = If(c) <then_branch = yes () => (float[8] t) { t = Relu(bias) }, else_branch = no () => (float[8] e) { e = Neg(bias) }> "
         "m = ReduceMax(f) y = Add(z, m) }", {**W, "bias": (8,)}, "first:8"),
    case("If-that-hands-a-constant-on", "(float[N, 4] x, bool c) => (float[N, 5] y) { [first] a = MatMul(x, w1) h = Add(a, bias) [last] z = MatMul(h, w2) "
         "[choice] f = If(c) <then_branch = yes () => (float[8] t) { t = Identity(bias) }, else_branch = no () => (float[8] e) { e = Identity(bias) }> "
         "m = ReduceMax(f) y = Add(z, m) }", {**W, "bias": (8,)}, "first:8"),
    case("If-that-reads-a-shape", "(float[N, 4] x, bool c) => (float[N, 5] y) { [first] a = MatMul(x, w1) h = Relu(a) s = Shape(h) [last] z = MatMul(h, w2) "
         "[choice] f = If(c) <then_branch = yes () => (int64[2] t) { t = Abs(s) }, else_branch = no () => (int64[2] e) { e = Neg(s) }> "
         "g = Cast<to = 1>(f) m = ReduceMax(g) y = Add(z, m) }", W, "", frozen={"first:8": "size takes part"}),
    case("Loop", "(float[N, 4] x) => (float[N, 5] y) { [first] a = MatMul(x, w1) [loop] h = Loop(three, , a) <body = step (int64 i, bool go, float[N, 8] s) "
         "=> (bool on, float[N, 8] r) { on = Identity(go) q = Relu(s) r = Add(q, scale) }> [last] y = MatMul(h, w2) }",
         {**W, "three": np.array(3), "scale": (8,)}, "", frozen={"first:8": "border of a body of"}),
    case("Scan", "(float[S, 4] x) => (float[S, 5] y) { [first] a = MatMul(x, w1) [scan] , h = Scan<num_scan_inputs = 1, body = step (float[8] s, float[8] e) "
         "=> (float[8] t, float[8] o) { t = Add(s, e) o = Relu(t) }>(zero, a) [last] y = MatMul(h, w2) }", {**W, "zero": np.zeros(8, np.float32)}, "",
         frozen={"first:8": "border of a body of"}),
]  # fmt: skip  # a table, a row a line


@all_of(CASES)
def test_case(case: Case) -> None:
    check(case)


def test_report_counts_what_was_lost() -> None:
    one = next(one for one in CASES if one.name == "what-comes-before-is-free")
    missing = typed(one)[1].missing[0]
    assert (missing.node, missing.op, missing.effect) == (
        "odd",
        "my.domain::Blur",
        "no axis rule for my.domain::Blur: 1 axes frozen",
    )


def test_tensor_of_unknown_shape_freezes_what_meets_it() -> None:
    """Nothing is known of what a foreign operator writes, so what is added to it stays."""
    text = between("[odd] f = my.domain.Blur(x) h = Add(a, f)")
    _, typing, groups = typed(case("unknown", text, W, domains={"my.domain": 1}))
    assert typing.axes.get("f") is None
    assert all(not group.is_prunable for group in groups)
    assert [one.node for one in typing.missing][:2] == ["odd", "Add_2"]


def test_shape_noted_in_the_file_is_used() -> None:
    """With its shape the foreign tensor is frozen, and the rule for Add can do its work."""
    proto = parse(
        between("[odd] f = my.domain.Blur(x) [two] b = MatMul(f, v) h = Add(a, b)"),
        {**W, "v": (6, 8)},
        17,
        {"my.domain": 1},
    )
    proto.graph.value_info.append(onnx.helper.make_tensor_value_info("f", onnx.TensorProto.FLOAT, ["N", 6]))
    model = load(proto)
    groups = find_groups(model, infer(model))
    assert describe([group for group in groups if group.is_prunable]) == ["first:8"]


def test_model_inputs_and_outputs_are_frozen_by_name() -> None:
    one = case("plain", between("h = Relu(a)"), W)
    _, typing, _ = typed(one)
    reasons = [next(iter(algebra.atoms_of(axis))).freeze for axis in (*typing.axes["x"], typing.axes["y"][1])]
    assert [(why.reason, why.node) for why in reasons if why] == [
        ("it is an axis of a model input", "x"), ("it is an axis of a model input", "x"), ("it is an axis of a model output", "y")
    ]  # fmt: skip  # a table, a row a line


@pytest.mark.parametrize("share", [0.4, 0.75])
def test_foreign_operators_beside_what_is_cut_are_kept(share: float) -> None:
    """The rewrite keeps If and all that it reads, also when the constant it shares with others is cut for them."""
    one = next(one for one in CASES if one.name == "If-on-constants-of-others")
    model, typing, groups = typed(one)
    free = [group for group in groups if group.is_prunable]
    small = check_rewrite(model, typing, keep_share(free, share), [feeds_for(to_proto(model), {"N": 2})])
    dims = {tensor.name: tuple(tensor.dims) for tensor in small.graph.initializer}
    assert dims["bias"] == (8,), "the subgraph's constant"
    assert len(dims) == 4
