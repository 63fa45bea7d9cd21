"""Bodies of If, Loop and Scan in normal form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from graphprune.ir.bodies import all_nodes, graphs_of, owners
from graphprune.ir.export import to_proto
from graphprune.ir.free_names import tensor_names
from graphprune.ir.loading import load
from tests.graphs import Arrays, assert_same, build, initialisers, ops, random_feeds, random_weight, run

ALIKE = """(float[N,4] x, bool c) => (float[N,4] y) { y = If(c) <
    then_branch = g1 () => (float[N,4] t) { [same] h = MatMul(x, w) k = Constant<value_float = 2.0>() t = Mul(h, k) },
    else_branch = g2 () => (float[N,4] e) { [same] h = Neg(x) k = Constant<value_float = 3.0>() e = Mul(h, k) }> }"""
TAKEN = """(float[N,4] x) => (float[N,4] y) {
    two = Constant<value_int = 2>() three = Constant<value_int = 3>() c = Less(%s)
    [choice] y = If(c) <then_branch = g1 () => (float[N,4] t) { h = MatMul(x, w) t = Relu(h) },
    else_branch = g2 () => (float[N,4] e) { e = Neg(x) }> }"""
W = {"w": (4, 4)}


def normal(proto: onnx.ModelProto, *feeds: Arrays) -> onnx.ModelProto:
    """Computes what ``proto`` does, and is valid."""
    out = to_proto(load(proto))
    onnx.checker.check_model(out, full_check=True)
    for each in feeds:
        assert_same(run(out, each), run(proto, each))
    return out


def feeds_with(proto: onnx.ModelProto, condition: bool) -> Arrays:
    return random_feeds(proto) | {"c": np.array(condition)}


def test_names_are_told_apart_and_weights_are_the_models() -> None:
    proto = build(ALIKE, W)
    before = proto.SerializeToString()
    out = normal(proto, feeds_with(proto, True), feeds_with(proto, False))
    model = load(proto)
    names = [node.name for node in all_nodes(model.graph)]
    made = [tensor.name for node in all_nodes(model.graph) for tensor in node.outputs]
    assert len(set(names)) == len(names)
    assert len(set(made)) == len(made)
    assert sorted(float(v) for v in initialisers(out).values() if not v.ndim) == [2, 3]
    assert [len(graph.initializer) for graph in graphs_of(out.graph)] == [3, 0, 0]
    assert proto.SerializeToString() == before


@pytest.mark.parametrize(("order", "expected"), [("two, three", ["MatMul", "Relu"]), ("three, two", ["Neg"])])
def test_branch_that_is_always_taken_is_put_in_place(order: str, expected: list[str]) -> None:
    proto = build(TAKEN % order, W)
    out = normal(proto, random_feeds(proto))
    assert ops(out) == expected
    assert [value.name for value in out.graph.output] == ["y"]


def test_branch_in_a_branch_is_put_in_place() -> None:
    """The inner condition is known from a size that is static."""
    text = """(float[2,4] x, bool c) => (float[2,4] y) { y = If(c) <
        then_branch = g1 () => (float[2,4] t) { s = Shape(x) n = Gather(s, at) d = Equal(n, four)
            t = If(d) <then_branch = g3 () => (float[2,4] u) { u = MatMul(x, w) },
                else_branch = g4 () => (float[2,4] v) { v = Abs(x) }> },
        else_branch = g2 () => (float[2,4] e) { e = Neg(x) }> }"""
    proto = build(text, {**W, "at": np.array(1), "four": np.array(4)})
    out = normal(proto, feeds_with(proto, True), feeds_with(proto, False))
    assert [[node.op_type for node in graph.node] for graph in graphs_of(out.graph)] == [["If"], ["MatMul"], ["Neg"]]


def test_branch_may_give_one_tensor_twice_or_a_constant() -> None:
    text = """(float[N,4] x) => (float[N,4] y, float[N,4] z, float[4] b) { c = Constant<value = bool {1}>()
        y, z, b = If(c) <
        then_branch = g1 () => (float[N,4] t, float[N,4] t, float[4] k) { t = Relu(x) k = Identity(w) },
        else_branch = g2 () => (float[N,4] e, float[N,4] f, float[4] g) { e = Neg(x) f = Abs(x) g = Neg(w) }> }"""
    proto = build(text, {"w": (4,)})
    out, feeds = normal(proto), random_feeds(proto)
    assert "If" not in ops(out)
    relu = np.maximum(feeds["x"], 0)  # ONNX Runtime hands such a tensor out once only
    assert_same(run(out, feeds), [relu, relu, initialisers(proto)["w"]])


def test_what_is_constant_in_a_body_is_folded_but_for_what_leaves_it() -> None:
    text = """(float[N,4] x, bool c) => (float[4,4] y) { y = If(c) <
        then_branch = g1 () => (float[4,4] t) { a = Transpose<perm = [1, 0]>(w) b = Neg(a) t = Abs(b) },
        else_branch = g2 () => (float[4,4] e) { e = Identity(w) }> }"""
    proto = build(text, W)
    out = normal(proto, feeds_with(proto, True), feeds_with(proto, False))
    assert [[node.op_type for node in graph.node] for graph in graphs_of(out.graph)] == [["If"], ["Abs"], ["Identity"]]


def test_a_copy_shares_its_constants_with_its_own_bodies_alone() -> None:
    model = load(build("(float[N,4] x, bool c) => (float[N,4] y) { h = MatMul(x, w) y = If(c) <"
                       "then_branch = g1 () => (float[N,4] t) { t = MatMul(h, w) }, "
                       "else_branch = g2 () => (float[N,4] e) { e = Neg(h) }> }", W))  # fmt: skip  # as the others
    copy = model.copy()
    inside = owners(copy.graph)
    inner, outer = sorted(
        (node for node in all_nodes(copy.graph) if node.op == "MatMul"), key=lambda node: node.name not in inside
    )
    assert outer.inputs[1] is inner.inputs[1]
    assert outer.inputs[1] is not next(n for n in all_nodes(model.graph) if n.op == "MatMul").inputs[1]
    assert tensor_names(to_proto(copy).graph) == tensor_names(to_proto(model).graph)


def test_external_weights_of_bodies_are_read(tmp_path: Path) -> None:
    """They become the model's, and are written beside the file again."""
    proto = build(ALIKE.replace("h = Neg(x)", "h = MatMul(x, v)"), W)
    own = onnx.numpy_helper.from_array(random_weight("v", (4, 4)), "v")
    proto.graph.node[-1].attribute[1].g.initializer.append(own)
    copy = onnx.ModelProto.FromString(proto.SerializeToString())
    onnx.save(copy, str(tmp_path / "m.onnx"), save_as_external_data=True, size_threshold=0, location="m.bin")
    model = load(tmp_path / "m.onnx")
    assert {path.name for path in model.files} == {"m.onnx", "m.bin"}
    for condition in (True, False):
        feeds = feeds_with(proto, condition)
        assert_same(run(to_proto(model), feeds), run(proto, feeds))
