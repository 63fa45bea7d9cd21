"""The open size of a Reshape, worked out of sizes that are free."""

from __future__ import annotations

import numpy as np
import pytest

from graphprune.ir.export import to_proto
from graphprune.ir.loading import load
from tests.graphs import assert_same, build, ops, random_feeds, run

HEADS = (
    "(float[N,S,32] x) => (float[A,B,C,D] z) "
    "{ s = Shape(x) f = Slice(s, zero, two) t = Concat<axis = 0>(f, rest) y = Reshape(x, t) "
)
ENDS = {"zero": np.array([0]), "two": np.array([2])}


@pytest.mark.parametrize(
    ("rest", "last"), [([4, -1], 8), ([-1, 4], 4), ([4, 8], 8)], ids=["behind", "before", "not open"]
)
def test_free_sizes_cancel(rest: list[int], last: int) -> None:
    model = load(build(HEADS + "z = Relu(y) }", {**ENDS, "rest": np.array(rest)}))
    assert model.shapes["y"] == ("N", "S", 32 // last, last)


def test_a_size_that_takes_in_a_free_one_stays_open() -> None:
    text = "(float[N,S,32] x) => (float[A,B] z) { y = Reshape(x, t) z = Relu(y) }"
    model = load(build(text, {"t": np.array([-1, 32])}))
    assert not isinstance(model.shapes["y"][0], int)


def test_arithmetic_with_the_size_is_folded() -> None:
    """As the scale of attention that TorchScript's exporter computes of the depth of a head."""
    text = HEADS + "u = Shape(y) d = Gather(u, three) e = Cast<to = 1>(d) r = Sqrt(e) z = Div(y, r) }"
    proto = build(text, {**ENDS, "rest": np.array([4, -1]), "three": np.array(3)})
    model = load(proto)
    assert "Sqrt" not in ops(to_proto(model))
    feeds = random_feeds(proto, batch=2)
    assert_same(run(to_proto(model), feeds), run(proto, feeds))
