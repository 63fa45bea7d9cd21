"""Axes that count samples are found by running, where symbols do not tell; sizes of free axes are picked likewise."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from graphprune.data.batching import Batching
from graphprune.data.dataset import input_specs
from graphprune.data.made_up import synthetic
from graphprune.errors import DataError
from graphprune.ir.loading import load
from graphprune.ir.model import Model
from graphprune.run.inputs import InputLayout, input_layout
from graphprune.run.sizes import completed
from graphprune.runtime.sessions import RuntimeOptions, open_model, run
from tests.graphs import build

GRAPH = """(float[nodes,4] x, int64[2,E] edges) => (float[nodes,4] y) <int64[1] first = {0}, int64[1] second = {1}> {
    from2 = Gather<axis = 0>(edges, first)
    origin = Squeeze(from2, first)
    to2 = Gather<axis = 0>(edges, second)
    targets = Squeeze(to2, first)
    message = Gather<axis = 0>(x, origin)
    tall = Unsqueeze(targets, second)
    sizes = Shape(message)
    wide = Expand(tall, sizes)
    y = ScatterElements<axis = 0, reduction = "add">(x, wide, message)
}"""
DECODER = """(int64[batch,seq] ids, int64[batch,both] mask, float[batch,past,4] cache)
    => (float[batch,both,4] y) <int64[1] last = {2}> {
    new = Gather(table, ids)
    all = Concat<axis = 1>(cache, new)
    float_mask = Cast<to = 1>(mask)
    tall = Unsqueeze(float_mask, last)
    y = Mul(all, tall)
}"""


def layout(text: str, weights: Mapping[str, tuple[int, ...]] | None = None, **shapes: tuple[int, ...]) -> InputLayout:
    model = load(build(text, weights or {}))
    return input_layout(model, {}, shapes, {}, RuntimeOptions(threads=1), needs_shapes=True)


def axes(text: str) -> dict[str, int | None]:
    return dict(layout(text).batching.axes)


def test_nodes_of_a_graph_are_no_samples() -> None:
    found = layout(GRAPH)
    assert dict(found.batching.axes) == {"x": None, "edges": None}
    assert found.batching.size == 1
    assert found.shapes == {"x": (16, 4), "edges": (2, 16)}
    assert found.note == "sizes of free axes were picked: x 16x4, edges 2x16; --input-shapes asks for others"
    data = synthetic(load(build(GRAPH)), 0, 3, found.shapes, {}, found.batching)
    edges = np.stack([batch.feeds["edges"] for batch in data.batches(32)])
    assert edges.shape == (3, 2, 16)
    assert (edges.min(), edges.max()) == (0, 15)  # below the number of nodes


def test_axes_without_names_are_tried() -> None:
    assert axes("(float[?,4] x, float[?,4] z) => (float[?,4] y) { y = Add(x, z) }") == {"x": 0, "z": 0}
    scaled = "(float[?,3,4] x, float[3] z) => (float[?,3,4] y) <int64[1] a = {1}> { t = Unsqueeze(z, a) y = Mul(x, t) }"
    assert axes(scaled) == {"x": 0, "z": None}
    mixing = "(float[p,4] x, float[q,4] z) => (float[p,q] y) { t = Transpose(z) y = MatMul(x, t) }"
    assert axes(mixing) == {"x": 0, "z": None}


def test_samples_that_mix_are_no_samples() -> None:
    mixing = (
        "(float[p,4] x, float[q,4] z) => (float[p,4] y) { s = Softmax<axis = 0>(x) m = ReduceMean(z) y = Mul(s, m) }"
    )
    assert axes(mixing) == {"x": None, "z": None}


def test_a_fixed_input_that_cannot_serve_all_means_one_by_one() -> None:
    apart = "(float[N,4] x, float[1,4] z) => (float[N,8] y) { y = Concat<axis = 1>(x, z) }"
    found = layout(apart)
    assert (dict(found.batching.axes), found.batching.size) == ({"x": 0, "z": 0}, 1)
    assert axes(apart.replace("Concat<axis = 1>", "Mul").replace("8", "4")) == {"x": 0, "z": None}


def test_sizes_are_those_that_run() -> None:
    image = "(float[N,3,H,W] x) => (float[N,M] y) { y = Flatten(x) }"
    assert layout(image).shapes == {"x": (1, 3, 224, 224)}
    assert layout(image.replace("[N,3,H,W]", "[N,H,W,3]")).shapes == {"x": (1, 224, 224, 3)}
    fixed = "(float[N,3,H,W] x) => (float[N,6] y) { f = Flatten(x) y = MatMul(f, w) }"
    assert layout(fixed, {"w": (3 * 64 * 64, 6)}).shapes == {"x": (1, 3, 64, 64)}
    assert layout(image, x=(1, 3, 10, 20)).shapes == {"x": (1, 3, 10, 20)}
    assert layout(image, x=(1, 3, 10, 20)).note == ""
    with pytest.raises(DataError, match=r"no sizes were found.*x axis 2, x axis 3.*at node 'MatMul_\d+' \(MatMul\)"):
        layout(fixed, {"w": (3 * 65 * 63, 6)})


@pytest.mark.parametrize("name", ["total_length", "past + seq", "both"])
def test_caches_and_sums_of_sizes(name: str) -> None:
    proto = build(DECODER, {"table": (9, 4)})
    proto.graph.input[1].type.tensor_type.shape.dim[1].dim_param = name
    found = input_layout(load(proto), {}, {}, {}, RuntimeOptions(threads=1), needs_shapes=True)
    past, mask = (0, 16) if name == "both" else (16, 32)  # a name that says nothing: what runs
    assert found.shapes == {"ids": (1, 16), "mask": (1, mask), "cache": (1, past, 4)}


def test_indices_stay_below_what_they_pick_from() -> None:
    text = """(int64[N,T] ids, int32[N,T] kinds, int64[N] other, uint8[N,3] pixels)
        => (float[N,T,4] y, int64[N] o, uint8[N,3] p)
    <int64[2] flat = {-1, 1}> {
        long = Cast<to = 7>(kinds)
        one = Gather(words, ids)
        two = Gather(types, long)
        y = Add(one, two)
        o = Neg(other)
        p = Identity(pixels)
    }"""
    model = load(build(text, {"words": (30, 4), "types": (2, 4)}))
    found = input_layout(model, {}, {}, {}, RuntimeOptions(threads=1), needs_shapes=True)
    assert found.shapes is not None
    feeds = synthetic(model, 0, 64, found.shapes, {}, found.batching).first(64)
    assert {name: int(array.max()) for name, array in feeds.items()} == {
        "ids": 29,
        "kinds": 1,
        "other": 1,
        "pixels": 255,
    }


def test_a_model_that_cannot_be_opened_is_not_tried() -> None:
    """An operator that no runtime here knows: the likeliest sizes do for looking at the network."""
    model = load(build("(float[N,3,H,W] x) => (float[N,3,H,W] y) { r = Relu(x) y = Identity(r) }"))
    model.graph.nodes[0].op, model.graph.nodes[0].domain = "Strange", "nobody"
    model.node_protos.clear()
    found = input_layout(model, {}, {}, {}, RuntimeOptions(threads=1), needs_shapes=True)
    assert (dict(found.batching.axes), found.shapes) == ({"x": 0}, {"x": (1, 3, 224, 224)})


def test_what_is_only_tried_is_small() -> None:
    specs = input_specs(load(build("(float[N,3,H,W] x, float[N,4,H,W] z) => (float[N,3,H,W] y) { y = Relu(x) }")))
    first = [next(completed(specs, Batching(), {}, small_first=small)) for small in (False, True)]
    assert [shapes["x"] for shapes in first] == [(1, 3, 224, 224), (1, 3, 32, 32)]
    latent = input_specs(load(build("(float[N,4,H,W] x) => (float[N,4,H,W] y) { y = Relu(x) }")))
    assert next(completed(latent, Batching(), {})) == {"x": (1, 4, 64, 64)}


def test_sizes_and_words_are_made_up_too() -> None:
    """A result scaled to a size that goes in: with a size of one pixel it would be empty."""
    text = """(float[1,1,4,4] x, float[2] orig_im_size, string[1] word) => (float[1,1,H,W] y, string[1] w)
    <int64[2] one = {1, 1}> {
        whole = Cast<to = 7>(orig_im_size)
        sizes = Concat<axis = 0>(one, whole)
        y = Resize(x, , , sizes)
        w = Identity(word)
    }"""
    model = load(build(text))
    found = layout_of(model)
    feeds = synthetic(model, 0, 2, found.shapes or {}, {}, found.batching).first()
    assert feeds["orig_im_size"].tolist() == [64.0, 64.0]
    assert feeds["word"].tolist() == ["a"]
    assert run(open_model(model, RuntimeOptions(threads=1)), feeds)[0].shape == (1, 1, 64, 64)


def test_outputs_that_are_empty_do_where_nothing_else_comes() -> None:
    """Which rows stay depends on values: with made-up ones it may be none."""
    text = "(float[N,T] x) => (float[K] y) <float never = {9.0}, int64[1] all = {-1}> {"
    model = load(build(f"{text} large = Greater(x, never) flat = Reshape(large, all) y = Compress(x, flat) }}"))
    assert layout_of(model).shapes == {"x": (1, 16)}


def layout_of(model: Model) -> InputLayout:
    return input_layout(model, {}, {}, {}, RuntimeOptions(threads=1), needs_shapes=True)
