"""Assignments to slices become Concats, and nothing else does; the numbers stay the same."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from graphprune.ir.export import to_proto
from graphprune.ir.loading import load
from tests.graphs import assert_same, build, ops, random_feeds, run


def grid(*ranges: tuple[int, int]) -> np.ndarray:
    """Every index of a box, as exporters list them: (*lengths, axes)."""
    return np.stack(np.meshgrid(*(np.arange(*one) for one in ranges), indexing="ij"), axis=-1)


FRONT = np.array([[0], [1]])
GRID = {
    "zero": np.array(0),
    "one": np.array(1),
    "column": np.array([-1, 1]),
    "end": np.array([-1]),
    "rows": np.array([2, 3]),
    "gap": np.array([2, 4]),
}
WRITTEN = {
    "front": (FRONT, "2,5,N", 1),
    "middle": (np.array([[1], [2], [3]]), "3,5,N", 2),
    "end": (np.array([[3], [4], [5]]), "3,5,N", 1),
    "from-the-end": (np.array([[-2], [-1]]), "2,5,N", 1),
    "second-axis": (grid((0, 6), (2, 4)), "6,2,N", 2),
    "a-box": (grid((0, 2), (0, 2)), "2,2,N", 3),
    "a-box-inside": (grid((2, 4), (1, 3)), "2,2,N", 5),
    "a-box-from-the-end": (grid((-2, 0), (-3, 0)), "2,3,N", 3),
}
LEFT = {
    "backwards": (FRONT[::-1].copy(), "2,5,N"),
    "with-a-gap": (np.array([[0], [2]]), "2,5,N"),
    "one-row-again-and-again": (np.array([[1], [1]]), "2,5,N"),
    "one-place": (np.array([[[0], [1]]]), "1,2,5,N"),
    "the-diagonal": (np.array([[0, 0], [1, 1]]), "2,N"),
}


@pytest.mark.parametrize(("indices", "updates", "slices"), WRITTEN.values(), ids=WRITTEN)
def test_a_slice_becomes_a_concat(indices: np.ndarray, updates: str, slices: int) -> None:
    proto = build(
        f"(float[6,5,N] x, float[{updates}] u) => (float[6,5,N] y) {{ [s] h = ScatterND(x, i, u) y = Relu(h) }}",
        {"i": indices},
    )
    model = load(proto)
    found = ops(to_proto(model))
    assert (found.count("Slice"), found.count("ScatterND")) == (slices, 0)
    assert model.shapes["h"] == (6, 5, "N")
    feeds = random_feeds(proto)
    assert_same(run(to_proto(model), feeds), run(proto, feeds))


@pytest.mark.parametrize("size", ["6", "B"])
def test_what_is_overwritten_whole_is_what_is_written(size: str) -> None:
    """As ``scores[:, 0:] = updates`` where no class token stands before the others."""
    proto = build(
        f"(float[{size},5] x, float[{size},5] u) => (float[{size},5] y) {{ s = Shape(x) n = Gather(s, zero) "
        "r = Range(zero, n, one) c = Reshape(r, column) a = Add(c, rows) g = Shape(a) e = Expand(c, g) "
        "f = Expand(rows, g) i = Unsqueeze(e, end) j = Unsqueeze(f, end) k = Concat<axis = -1>(i, j) "
        "h = ScatterND(x, k, u) y = Relu(h) }",
        GRID | {"rows": np.arange(5)},
    )
    model = load(proto)
    assert "ScatterND" not in ops(to_proto(model))
    feeds = random_feeds(proto)
    assert_same(run(to_proto(model), feeds), run(proto, feeds))


@pytest.mark.parametrize(("indices", "updates"), LEFT.values(), ids=LEFT)
def test_what_is_no_slice_stays(indices: np.ndarray, updates: str) -> None:
    proto = build(
        f"(float[6,5,N] x, float[{updates}] u) => (float[6,5,N] y) {{ y = ScatterND(x, i, u) }}", {"i": indices}
    )
    assert ops(to_proto(load(proto))) == ["ScatterND"]


PLACES = {"first": (0, 1), "middle": (2, 2), "last": (5, 1), "from-the-end": (-1, 1), "second-from-the-end": (-2, 2)}


@pytest.mark.parametrize("exporter", ["listed", "expanded"])
@pytest.mark.parametrize(("place", "slices"), PLACES.values(), ids=PLACES)
def test_one_place_becomes_a_concat(place: int, slices: int, exporter: str) -> None:
    """PyTorch writes ``x[:, place] = u`` as ScatterElements, with indices that a free size makes it expand."""
    head = "(float[B,6,N] x, float[B,1,N] u) => (float[B,6,N] y)"
    indices = {"i": np.array(place)}
    if exporter == "listed":
        head, indices = head.replace("N]", "3]").replace("[B", "[2"), {"e": np.full((2, 1, 3), place)}
    expand = "" if exporter == "listed" else "s = Shape(u) e = Expand(i, s) "
    proto = build(f"{head} {{ {expand}[s] h = ScatterElements<axis = 1>(x, e, u) y = Relu(h) }}", indices)
    model = load(proto)
    assert ops(to_proto(model)) == ["Slice"] * slices + ["Concat", "Relu"]
    feeds = random_feeds(proto)
    assert_same(run(to_proto(model), feeds), run(proto, feeds))


@pytest.mark.parametrize("place", [0, 2, -1, -3])
def test_one_place_of_an_axis_of_unknown_size(place: int) -> None:
    proto = build(
        "(float[B,N] x, float[B,1] u) => (float[B,N] y) "
        "{ s = Shape(u) e = Expand(i, s) h = ScatterElements<axis = 1>(x, e, u) y = Relu(h) }",
        {"i": np.array(place)},
    )
    model = load(proto)
    assert "ScatterElements" not in ops(to_proto(model))
    for size in (3, 5):
        feeds = random_feeds(proto, batch=size)
        assert_same(run(to_proto(model), feeds), run(proto, feeds))


ELEMENTS_LEFT = {
    "shorter-elsewhere": ("float[B,6,3] x, float[B,1,2] u", np.full((1,), 0)),
    "of-another-free-size": ("float[B,6,3] x, float[C,1,3] u", np.full((1,), 0)),
    "places-of-their-own": ("float[2,6,3] x, float[2,1,3] u", np.arange(6).reshape(2, 1, 3)),
    "with-a-gap": ("float[2,6,3] x, float[2,2,3] u", np.array([[1], [3]])),
    "one-place-twice": ("float[2,6,3] x, float[2,2,3] u", np.array([[1], [1]])),
}


@pytest.mark.parametrize(("inputs", "places"), ELEMENTS_LEFT.values(), ids=ELEMENTS_LEFT)
def test_other_elements_stay(inputs: str, places: np.ndarray) -> None:
    shape = inputs.split(" x")[0]
    text = f"({inputs}) => ({shape} y) {{ s = Shape(u) e = Expand(i, s) y = ScatterElements<axis = 1>(x, e, u) }}"
    assert "ScatterElements" in ops(to_proto(load(build(text, {"i": places}))))


def grid_text(limit: str, start: str = "zero", place: str = "rows") -> str:
    """As TorchScript writes ``x[:, rows] = u`` where the first size is free."""
    return (
        f"(float[B,6,3] x, float[C,9] z, float[B,2,3] u) => (float[B,6,3] y) {{ s = Shape({limit}) n = Gather(s, zero) "
        f"r = Range({start}, n, one) c = Reshape(r, column) a = Add(c, rows) g = Shape(a) e = Expand(c, g) "
        f"f = Expand({place}, g) i = Unsqueeze(e, end) j = Unsqueeze(f, end) k = Concat<axis = -1>(i, j) "
        "h = ScatterND(x, k, u) y = Relu(h) }"
    )


def test_an_index_that_goes_through_a_free_size() -> None:
    proto = build(grid_text("x"), GRID)
    model = load(proto)
    assert ops(to_proto(model)) == ["Slice", "Slice", "Concat", "Relu"]
    for batch in (1, 4):
        feeds = random_feeds(proto, batch=batch)
        assert_same(run(to_proto(model), feeds), run(proto, feeds))


def test_what_is_written_is_taken_before_it_got_the_shape_that_it_had() -> None:
    text = grid_text("x").replace("h = S", "q = Concat<axis = 0>(g, three) t = Expand(u, q) v = Reshape(t, q) h = S")
    proto = build(text.replace("k, u)", "k, v)"), GRID | {"three": np.array([3])})
    model = load(proto)
    assert ops(to_proto(model)) == ["Slice", "Slice", "Concat", "Relu"]
    feeds = random_feeds(proto, batch=4)
    assert_same(run(to_proto(model), feeds), run(proto, feeds))


def test_a_size_that_nobody_knows_follows_from_the_number_of_entries() -> None:
    """As TorchScript writes it where inference has lost the batch of what is written."""
    text = grid_text("x").replace("float[B,2,3] u", "float[B,2,3] u, int64[1] n_runs")
    text = text.replace(
        "h = S", "l = Concat<axis = 0>(n_runs, two_three) p = Reshape(u, l) o = Relu(p) v = Reshape(o, q) h = S"
    )
    text = text.replace("k, u)", "k, v)").replace("e = E", "q = Concat<axis = 0>(g, three) e = E")
    proto = build(text, GRID | {"three": np.array([3]), "two_three": np.array([2, 3])})
    model = load(proto)
    assert sorted(ops(to_proto(model))) == ["Concat", "Concat", "Relu", "Relu", "Reshape", "Slice", "Slice"]
    feeds = random_feeds(proto, batch=4) | {"n_runs": np.array([4])}
    assert_same(run(to_proto(model), feeds), run(proto, feeds))


@pytest.mark.parametrize("opset", [12, 17])
def test_what_is_written_to_one_place_is_given_its_axis(opset: int) -> None:
    text = grid_text("x").replace("float[B,2,3] u", "float[B,3] u").replace("h = S", "t = Reshape(u, q) h = S")
    text = text.replace("k, u)", "k, t)")
    if opset == 12:
        text = text.replace("Unsqueeze(e, end)", "Unsqueeze<axes = [2]>(e)").replace(
            "Unsqueeze(f, end)", "Unsqueeze<axes = [2]>(f)"
        )
    proto = build(text, GRID | {"rows": np.array([2]), "q": np.array([-1, 1, 3])}, opset=opset)
    model = load(proto)
    assert ops(to_proto(model)) == ["Unsqueeze", "Slice", "Slice", "Concat", "Relu"]
    feeds = random_feeds(proto, batch=4)
    assert_same(run(to_proto(model), feeds), run(proto, feeds))


@pytest.mark.parametrize("given", [("z", "zero"), ("x", "one"), ("x", "zero", "gap")])
def test_an_index_that_may_leave_some_of_a_free_size(given: tuple[str, ...]) -> None:
    assert "ScatterND" in ops(to_proto(load(build(grid_text(*given), GRID))))


def test_an_index_that_starts_behind_the_first_of_a_free_size() -> None:
    text = grid_text("x").replace("e = Expand(c, g)", "d = Add(c, one) e = Expand(d, g)")
    assert "ScatterND" in ops(to_proto(load(build(text, GRID))))


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


def test_what_is_made_has_the_type_of_the_data() -> None:
    text = grid_text("x").replace("float[B,2,3] u", "float[B,3] u").replace("h = S", "t = Reshape(u, q) h = S")
    text = text.replace("k, u)", "k, t)").replace("float[", "float16[")
    model = load(build(text, GRID | {"rows": np.array([2]), "q": np.array([-1, 1, 3])}))
    assert {model.dtypes.get(node.outputs[0].name) for node in model.graph.nodes} == {onnx.TensorProto.FLOAT16}
