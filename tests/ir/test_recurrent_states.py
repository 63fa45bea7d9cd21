"""Initial states of zeros are left out, all others stay; who reads one of several last states reads that alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tests.graphs import build, normal_form, ops

_ENDS = "(float[4,N,2] x) => (float[1,N,3] h)"
_Weights = dict[str, Sequence[int] | np.ndarray]
_WEIGHTS: _Weights = {
    "w": (1, 12, 2),
    "r": (1, 12, 3),
    "one": np.array([1]),
    "three": np.array([3]),
    "n": np.array([1]),
    "two": np.array([2]),
}


@pytest.mark.parametrize(
    ("text", "is_left_out"),
    [
        ("z = ConstantOfShape(q)", True),
        ("z = ConstantOfShape<value = float[1] {0.5}>(q)", False),
        ("z = Expand(zero, q)", True),
        ("z = Expand(half, q)", False),
        ("p = Concat<axis = 0>(two, s, three) o = ConstantOfShape(p) z = Slice(o, n, two)", True),
        ("o = ConstantOfShape(q) z = Relu(o)", False),  # nobody has looked into Relu
        ("a = ReduceSum(x, all) z = Expand(a, q)", False),
    ],
)
def test_states(text: str, is_left_out: bool) -> None:
    weights = dict(_WEIGHTS) | {
        "zero": np.zeros(1, np.float32),
        "half": np.full(1, 0.5, np.float32),
        "all": np.array([0, 2]),
    }
    body = (
        f"s = Shape<start = 1, end = 2>(x) q = Concat<axis = 0>(one, s, three) {text} "
        ", h, last_cell = LSTM<hidden_size = 3>(x, w, r, , , z, z)"
    )
    used = {
        name: given
        for name, given in weights.items()
        if any(f"{before}{name}{after}" in body for before in "( " for after in ",)")
    }
    proto = normal_form(build(f"{_ENDS} {{ {body} }}", used))
    (node,) = [node for node in proto.graph.node if node.op_type == "LSTM"]
    assert (not any(node.input[5:])) == is_left_out
    assert ("ConstantOfShape" not in ops(proto) and "Expand" not in ops(proto)) == is_left_out


@pytest.mark.parametrize(("index", "taken"), [(-1, "h2"), (0, "h1"), (1, "h1"), (2, "h2"), (-3, "h1")])
@pytest.mark.parametrize("shape", [(), (1,)])
def test_one_of_several_last_states(index: int, taken: str, shape: tuple[int, ...]) -> None:
    """The first layer runs both ways and writes two."""
    text = """(float[4,N,2] x) => (float[N,3] y) {
    states, h1 = GRU<hidden_size = 3, direction = "bidirectional">(x, w, r)
    t = Transpose<perm = [0, 2, 1, 3]>(states) f = Reshape(t, flat) , h2 = GRU<hidden_size = 3>(f, v, u)
    all = Concat<axis = 0>(h1, h2) y = Gather<axis = 0>(all, place) }"""
    weights: _Weights = {"w": (2, 9, 2), "r": (2, 9, 3), "v": (1, 9, 6), "u": (1, 9, 3), "flat": np.array([0, 0, -1])}
    text = text if not shape else text.replace("float[N,3] y", "float[1,N,3] y")
    proto = normal_form(build(text, weights | {"place": np.full(shape, index)}))
    assert "Concat" not in ops(proto)
    assert [node.input[0] for node in proto.graph.node if node.op_type == "Gather"] == [taken]
