"""The second opinion must be able to fail: a wrong unit, a wrong order and a wrong number are seen by weights alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from graphprune.pipeline.prune import prune
from graphprune.run.options import RecoveryOptions, RunOptions, TimingOptions
from tests.graphs import build, initialisers, random_feeds, residual_mlp
from tools.checks.independent import OutputsDiffer, agree
from tools.checks.independent_bodies import Disagreement

NETWORK = """(float[N,3,8,8] x) => (float[N,5] y) {
  a = Conv<pads = [1, 1, 1, 1]>(x, w1, b1) b = Relu(a)
  c = Conv<pads = [1, 1, 1, 1], group = 4>(b, w2) d = Relu(c)
  e = GlobalAveragePool(d) f = Flatten(e) y = Gemm<transB = 1>(f, w3) }"""
SHAPES = {"w1": (8, 3, 3, 3), "b1": (8,), "w2": (12, 2, 3, 3), "w3": (5, 12)}
OPTIONS = RunOptions(
    align=1, timing=TimingOptions(measure_latency=False), recovery=RecoveryOptions(repair=())
)  # a repair changes the numbers


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """A convolutional network, and what is left of it."""
    proto, out = build(NETWORK, SHAPES), tmp_path_factory.mktemp("cut") / "small.onnx"
    prune(proto, ["filter-magnitude"], None, "ratio=0.4", out, options=OPTIONS)
    return proto, onnx.load(out)


def changed(proto: onnx.ModelProto, name: str, values: np.ndarray) -> onnx.ModelProto:
    """With other numbers in one weight."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for tensor in copy.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), name))
    return copy


def test_a_right_cut_is_agreed_to(pair: tuple[onnx.ModelProto, onnx.ModelProto]) -> None:
    original, small = pair
    found = agree(original, small, random_feeds(original))
    assert found.weights == 3
    assert found.zeroed > 0
    assert found.error < 1e-6


def test_units_in_another_order_are_seen(pair: tuple[onnx.ModelProto, onnx.ModelProto]) -> None:
    original, small = pair
    wrong = changed(small, "w3", initialisers(small)["w3"][:, ::-1])
    with pytest.raises(Disagreement):
        agree(original, wrong, random_feeds(original))


def test_the_numbers_of_another_unit_are_seen(pair: tuple[onnx.ModelProto, onnx.ModelProto]) -> None:
    """All of them are the original's, and in order."""
    original, small = pair
    whole, left = initialisers(original)["w3"], initialisers(small)["w3"]
    gone = next(unit for unit in whole.T if not any(np.array_equal(unit, kept) for kept in left.T))
    swapped = left.copy()
    swapped[:, -1] = gone
    with pytest.raises(OutputsDiffer):
        agree(original, changed(small, "w3", swapped), random_feeds(original))


def test_a_number_that_the_original_has_not_is_seen(pair: tuple[onnx.ModelProto, onnx.ModelProto]) -> None:
    original, small = pair
    with pytest.raises(Disagreement, match="holds numbers"):
        agree(original, changed(small, "w1", initialisers(small)["w1"] + 1), random_feeds(original))


def test_branches_that_are_gone(tmp_path: Path) -> None:
    original = residual_mlp(4)
    prune(original, ["layer-cka"], random_feeds(original, 16), "removed=2", tmp_path / "small.onnx", options=OPTIONS)
    small = onnx.load(tmp_path / "small.onnx")
    assert agree(original, small, random_feeds(original)).branches == 2
    with pytest.raises(Disagreement):
        agree(original, changed(small, "w_head", 2 * initialisers(small)["w_head"]), random_feeds(original))


def test_a_layer_that_ends_in_a_norm(tmp_path: Path) -> None:
    """As in BERT: without the branch the norm would still change what goes in."""
    layers = "".join(
        f"u{i} = MatMul(h{i}, up{i}) r{i} = Relu(u{i}) d{i} = MatMul(r{i}, down{i}) s{i} = Add(h{i}, d{i}) "
        f"h{i + 1} = LayerNormalization(s{i}, scale{i}, shift{i}) "
        for i in range(3)
    )
    shapes: dict[str, tuple[int, ...]] = {"first": (4, 6), "head": (6, 5)}
    for i in range(3):
        shapes |= {f"up{i}": (6, 8), f"down{i}": (8, 6), f"scale{i}": (6,), f"shift{i}": (6,)}
    original = build(
        f"(float[N,4] x) => (float[N,5] y) {{ h0 = MatMul(x, first) {layers} y = MatMul(h3, head) }}", shapes
    )
    prune(original, ["layer-cka"], random_feeds(original, 16), "removed=1", tmp_path / "small.onnx", options=OPTIONS)
    small = onnx.load(tmp_path / "small.onnx")
    assert agree(original, small, random_feeds(original)).branches == 1
    with pytest.raises(Disagreement):
        agree(original, changed(small, "head", 2 * initialisers(small)["head"]), random_feeds(original))


def test_a_sum_over_channels_reads_what_is_gone(tmp_path: Path) -> None:
    """A norm by hand behind a pool: it divides by the channels there were."""
    original = build(
        """(float[N,3,8,8] x) => (float[N,5] y) {
        a = Conv(x, w1, b1) b = Relu(a) c = GlobalMaxPool(b) d = Flatten(c)
        one = Constant<value = int64[1] {1}>() e = ReduceSum(d, one) f = Mul(e, part) g = Sub(d, f)
        y = Gemm<transB = 1>(g, w3) }""",
        {"w1": (8, 3, 3, 3), "b1": (8,), "w3": (5, 8), "part": np.array(1 / 8, np.float32)},
    )
    prune(original, ["filter-magnitude"], None, "ratio=0.4", tmp_path / "small.onnx", options=OPTIONS)
    found = agree(original, onnx.load(tmp_path / "small.onnx"), random_feeds(original))
    assert found.writers
    assert found.error < 1e-6
