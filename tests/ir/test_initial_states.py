"""Initial states of zeros are left out; all others stay."""

from __future__ import annotations

import numpy as np
import pytest

from tests.graphs import build, normal_form, ops

_ENDS = "(float[4,N,2] x) => (float[1,N,3] h)"
_WEIGHTS = {
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
