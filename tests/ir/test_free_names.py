"""A name that is given out is nobody else's, however deep that one lies."""

from __future__ import annotations

from graphprune.ir.export import to_proto
from graphprune.ir.free_names import free_name, names_in, tensor_names
from graphprune.ir.loading import load
from tests.graphs import build

NESTED = """(float[N,4] x, bool c) => (float[N,4] y) { [act] h = Relu(x)
    [choice] y = If(c) <then_branch = g1 () => (float[N,4] a) { [inner] a = Add(h, w) },
        else_branch = g2 () => (float[N,4] b) { b = Exp(h) }> }"""


def test_free_names_are_numbered_only_where_they_must() -> None:
    taken = {"w", "w/cut1"}
    assert [free_name("w", taken, "/cut"), free_name("v", taken), free_name("v", taken)] == ["w/cut2", "v", "v.1"]
    assert {"w/cut2", "v", "v.1"} < taken


def test_names_inside_subgraphs_are_taken() -> None:
    model = load(build(NESTED, {"w": (4,)}))
    tensors = {"x", "c", "h", "y", "a", "b", "w"}
    assert tensors | {"act", "choice", "inner"} <= names_in(model)
    assert tensor_names(to_proto(model).graph) == tensors
