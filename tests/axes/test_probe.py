"""Sizes are found whatever stands in the way: one operator whose shape is not known freezes what it touches, no more."""

from __future__ import annotations

import numpy as np
import pytest

from graphprune.axes.measured import measured_shapes
from graphprune.axes.probe import probe
from graphprune.ir.loading import load
from tests.axes.cases import Case, Weights, all_of, case, check, parse
from tests.decoder_graphs import Sizes, fused_decoder, plain_decoder

MS = {"com.microsoft": 1}
IMAGE: Weights = {"w1": (8, 3, 3, 3), "w2": (6, 8, 3, 3), "w3": (4, 6, 1, 1)}
ROWS: Weights = {"w1": (4, 8), "w2": (8, 6), "w3": (6, 5)}
SCALES: Weights = {"s": (8,), "b": (8,)}


def images(body: str, size: int = 6) -> str:
    """``body`` makes ``h`` of ``a``; the middle convolution cannot be typed without the size of ``h``."""
    return (
        f"(float[N, 3, {size}, {size}] x) => (float[N, 4, P, Q] y) {{ [first] a = Conv<pads = [1, 1, 1, 1]>(x, w1) {body} "
        "[mid] m = Conv(h, w2) [last] y = Conv(m, w3) }"
    )


def rows(body: str, out: str = "float[N, 5]") -> str:
    """The same with dense layers, between which a Reshape needs sizes."""
    return (
        f"(float[N, 4] x) => ({out} y) {{ [first] a = MatMul(x, w1) {body} "
        "[mid] m = MatMul(h, w2) r = Reshape(m, flat) [last] y = MatMul(r, w3) }"
    )


FLAT = {"flat": np.array([-1, 6])}
PADS = {
    "pads": np.array([[1, 1], [2, 2]]),
    "two": np.array([4], np.int64),
    "spatial": np.array([2, 3]),
    "zero": np.array([0]),
}
CASES = [
    case("function-operator", rows("g = GreaterOrEqual(a, s) c = Cast<to = 1>(g) h = Mul(a, c)"), {**ROWS, **SCALES, **FLAT},
         "first:8 mid:6", opset=14),
    case("GroupNormalization-21", images("h = GroupNormalization<num_groups = 4>(a, s, b)"), {**IMAGE, **SCALES},
         "first:4 mid:6", opset=21, frozen={"first:2": "GroupNormalization runs over it"}),
    case("MeanVarianceNormalization", images("h = MeanVarianceNormalization<axes = [2, 3]>(a)"), IMAGE, "first:8 mid:6"),
    case("sizes-of-32-bits", images("h = Slice(a, from, to, spatial)"),
         {**IMAGE, "from": np.array([1, 1], np.int32), "to": np.array([5, 5], np.int32), "spatial": np.array([2, 3], np.int32)},
         "first:8 mid:6"),
    case("Unsqueeze-by-attribute", images(
         "t = Shape(x) n = Gather(t, zero) u = Unsqueeze<axes = [0]>(n) v = Concat<axis = 0>(u, rest) h = Reshape(a, v)"),
         {**IMAGE, "zero": np.array(0), "rest": np.array([8, 6, 6])}, "first:8 mid:6", opset=12),
    case("Squeeze-by-attribute", images(
         "t = Shape(x) n = Gather(t, zero) u = Squeeze<axes = [0]>(n) k = Unsqueeze<axes = [0]>(u) "
         "v = Concat<axis = 0>(k, rest) h = Reshape(a, v)"),
         {**IMAGE, "zero": np.array([0]), "rest": np.array([8, 6, 6])}, "first:8 mid:6", opset=12),
    case("pads-in-pairs", images(
         "t = Shape(x) i = Gather(t, three) k = Mod(i, four) p = Concat<axis = 0>(none, none, none, none, k, none, k, none) "
         "q = Reshape(p, pairs) r = Transpose(q) l = Reshape(r, all) h = Pad(a, l)"),
         {**IMAGE, "three": np.array([3]), "four": np.array([4]), "none": np.array([0]), "pairs": np.array([-1, 2]),
          "all": np.array([-1])}, "first:8 mid:6"),
    case("operator-that-only-runs", rows("[odd] h = com.microsoft.Trilu(a)"), {**ROWS, **FLAT}, "mid:6", domains=MS,
         frozen={"first:8": "no axis rule for com.microsoft::Trilu"}, missing="odd com.microsoft::Trilu"),
    case("rows-that-data-pick", rows(
         "c = Greater(a, s) k = ReduceMax<axes = [1], keepdims = 0>(c2) f = Cast<to = 9>(k) i = NonZero(f) j = Transpose(i) "
         "h = GatherND(a, j)").replace("k = ", "c2 = Cast<to = 1>(c) k = "), {**ROWS, "s": (1,), **FLAT}, "mid:6",
         frozen={"first:8": "ReduceMax runs over it"}),
]  # fmt: skip  # a table, a row a line


@all_of(CASES)
def test_case(case: Case) -> None:
    check(case)


def test_what_depends_on_data_is_not_measured() -> None:
    """Two runs on different data give two counts."""
    model = load(parse("(float[N, 4] x) => (int64[2, M] i, float[N, 4] y) { c = Greater(x, half) i = NonZero(c) y = Relu(x) }",
                       {"half": np.array(0.5, np.float32)}, 17))  # fmt: skip  # one call, one line of text
    assert measured_shapes(model, {"x": (11, 4)}, ["i", "y"]) == {"y": (11, 4)}


def test_a_count_is_no_other_size() -> None:
    """What only data can tell is a prime that no dimension of the model has."""
    model = load(parse("(float[N, 4] x) => (int64[2, M] i) { i = NonZero(x) }", {}, 17))
    found = probe(model)
    assert found.shapes["i"][1] not in found.shapes["x"]
    assert found.shapes["i"][1] > 1000


@pytest.mark.parametrize("kind", ["int64", "int32", "bool", "float16"])
def test_measured_with_inputs_of_any_type(kind: str) -> None:
    model = load(parse(f"({kind}[N, 4] x) => (int64[2] y) {{ y = Shape(x) }}", {}, 17))
    assert measured_shapes(model, {"x": (3, 4)}, ["y"]) == {"y": (2,)}


def test_a_model_that_does_not_run_is_measured_up_to_there() -> None:
    """Operators of other domains are passed over, with all that comes after them."""
    text = "(float[N, 4] x) => (float[N, 4] y) { r = Relu(x) b = my.domain.Blur(r) y = Relu(b) }"
    model = load(parse(text, {}, 17, {"my.domain": 1}))
    assert measured_shapes(model, {"x": (3, 4)}, ["r", "b", "y"]) == {"r": (3, 4)}
    assert measured_shapes(model, {"x": (3, 4)}, ["b", "y"]) == {}


def test_a_mask_is_as_long_as_the_cache_and_what_comes() -> None:
    for make in (fused_decoder, plain_decoder):
        shapes = probe(load(make(Sizes()))).shapes
        past, new = shapes["past_key_values.0.key"][2], shapes["input_ids"][1]
        assert len({0, past, new, past + new}) == 4
        assert shapes["attention_mask"][1] == shapes["present.0.key"][2] == past + new
        assert shapes["logits"][1] == new
