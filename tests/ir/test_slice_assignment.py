"""Assignments to slices become Concats, and nothing else does; the numbers stay the same."""

from __future__ import annotations

import numpy as np
import pytest

from graphprune.ir.export import to_proto
from graphprune.ir.loading import load
from tests.graphs import assert_same, build, ops, random_feeds, run


def grid(*ranges: tuple[int, int]) -> np.ndarray:
    """Every index of a box, as exporters list them: (*lengths, axes)."""
    return np.stack(np.meshgrid(*(np.arange(*one) for one in ranges), indexing="ij"), axis=-1)


FRONT = np.array([[0], [1]])
WRITTEN = {
    "front": (FRONT, "2,5,N", 1),
    "middle": (np.array([[1], [2], [3]]), "3,5,N", 2),
    "end": (np.array([[3], [4], [5]]), "3,5,N", 1),
    "second-axis": (grid((0, 6), (2, 4)), "6,2,N", 2),
}
LEFT = {
    "backwards": (FRONT[::-1].copy(), "2,5,N"),
    "with-a-gap": (np.array([[0], [2]]), "2,5,N"),
    "a-box": (grid((0, 2), (0, 2)), "2,2,N"),
    "from-the-end": (np.array([[-2], [-1]]), "2,5,N"),
    "one-place": (np.array([[[0], [1]]]), "1,2,5,N"),
    "everything": (grid((0, 6), (0, 5)), "6,5,N"),
    "the-diagonal": (np.array([[0, 0], [1, 1]]), "2,N"),
}


@pytest.mark.parametrize(("indices", "updates", "slices"), WRITTEN.values(), ids=WRITTEN)
def test_a_slice_becomes_a_concat(indices: np.ndarray, updates: str, slices: int) -> None:
    proto = build(
        f"(float[6,5,N] x, float[{updates}] u) => (float[6,5,N] y) {{ [s] h = ScatterND(x, i, u) y = Relu(h) }}",
        {"i": indices},
    )
    model = load(proto)
    assert ops(to_proto(model)) == ["Slice"] * slices + ["Concat", "Relu"]
    assert model.shapes["h"] == (6, 5, "N")
    feeds = random_feeds(proto)
    assert_same(run(to_proto(model), feeds), run(proto, feeds))


@pytest.mark.parametrize(("indices", "updates"), LEFT.values(), ids=LEFT)
def test_what_is_no_slice_stays(indices: np.ndarray, updates: str) -> None:
    proto = build(
        f"(float[6,5,N] x, float[{updates}] u) => (float[6,5,N] y) {{ y = ScatterND(x, i, u) }}", {"i": indices}
    )
    assert ops(to_proto(load(proto))) == ["ScatterND"]


@pytest.mark.parametrize("kind", ["add", "max"])
def test_what_is_added_up_stays(kind: str) -> None:
    text = f'(float[6,5] x, float[2,5] u) => (float[6,5] y) {{ y = ScatterND<reduction = "{kind}">(x, i, u) }}'
    assert ops(to_proto(load(build(text, {"i": FRONT}, opset=18)))) == ["ScatterND"]


def test_an_axis_of_unknown_size_stays() -> None:
    """Nobody knows whether all of it is written."""
    proto = build("(float[N,5] x, float[2,5] u) => (float[N,5] y) { y = ScatterND(x, i, u) }", {"i": FRONT})
    assert ops(to_proto(load(proto))) == ["ScatterND"]


def test_names_that_are_taken() -> None:
    proto = build(
        "(float[6,5] x, float[2,5] u) => (float[6,5] y) { [s] h = ScatterND(x, i, u) y = Relu(h) }", {"i": FRONT}
    )
    proto.graph.node[1].name = "s/joined"
    proto.graph.input[1].name = proto.graph.node[0].input[2] = "s/after"
    model = load(proto)
    assert [node.name for node in model.graph.nodes] == ["s/after_", "s/joined_", "s/joined"]
    feeds = random_feeds(proto)
    assert_same(run(to_proto(model), feeds), run(proto, feeds))
