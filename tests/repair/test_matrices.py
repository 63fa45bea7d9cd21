"""Rows times matrix against what ONNX Runtime computes at the exit; and back: what is written is what comes out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import pytest

from graphprune.analysis.dataflow import DataFlow
from graphprune.analysis.model_analysis import analyse
from graphprune.ir.export import to_proto
from graphprune.ir.loading import load
from graphprune.ir.model import Model
from graphprune.repair import matrices
from graphprune.repair.sites import RepairLayer, site_of
from tests.graphs import build, initialisers, random_feeds, run
from tests.repair.story import ONE_THREAD

Weights = dict[str, Sequence[int] | np.ndarray]


@dataclass(frozen=True)
class Layer:
    """A network that is one layer, [l], between input x and output y, and per-channel operations;
    ``axis`` of channels.
    """

    name: str
    text: str
    weights: Weights
    axis: int = 1

    def proto(self) -> onnx.ModelProto:
        return build(self.text, self.weights)


def conv(name: str, attributes: str, shape: Sequence[int], weights: Sequence[int], after: str = "") -> Layer:
    """``weights`` is the shape of w; names with "bias" have one. ``after`` reads a and may read the constants below."""
    channels, ones = weights[0], [1] * (len(shape) - 1)
    constants: Weights = {
        "w": weights,
        "b": (channels,),
        "s": (channels,),
        "t": (channels,),
        "m": (channels,),
        "v": (channels,),
        "k": (channels, *ones),
        "e": (1, channels, *ones),
        "one": np.array(0.5, np.float32),
    }
    sizes, free = ",".join(map(str, shape)), ",".join(f"d{axis}" for axis in range(len(shape)))
    node = f"[l] {'a' if after else 'y'} = Conv{attributes}(x, w{', b' if 'bias' in name else ''})"
    read = set(re.findall(r"\w+", f"{node} {after}"))
    text = f"(float[N,{sizes}] x) => (float[N,{free}] y) {{ {node} {after} }}"
    return Layer(name, text, {key: given for key, given in constants.items() if key in read})


def transposed(
    name: str, attributes: str, shape: Sequence[int], weights: Sequence[int], groups: int = 1, after: str = ""
) -> Layer:
    """As :func:`conv`; ``weights`` is (inputs, outputs of a group, *kernel)."""
    written = weights[1] * groups
    other = conv(name, f"<group = {groups}, {attributes}>", shape, (written, *weights[1:]), after)
    return Layer(name, other.text.replace("Conv<", "ConvTranspose<"), other.weights | {"w": weights})


NORM = "[n] {} = BatchNormalization<epsilon = 0.01>({}, s, t, m, v)"
LAYERS = [
    conv("conv 1d", "<strides = [2], pads = [2, 1], dilations = [2]>", (3, 11), (4, 3, 3)),
    conv("conv 3d bias", "<strides = [1, 2, 1], pads = [1, 0, 2, 0, 1, 1]>", (2, 4, 5, 6), (3, 2, 2, 3, 2)),
    conv("conv 2d", "<strides = [2, 1], pads = [0, 1, 2, 3], dilations = [1, 2]>", (3, 7, 9), (4, 3, 3, 2)),
    conv("pointwise bias", "", (3, 4, 5), (6, 3, 1, 1)),
    *[
        conv(
            f"{mode} {size} by {step}",
            f'<auto_pad = "{mode}", strides = [{step}, {step}], dilations = [{1 + (mode == "VALID")}, 1]>',
            (3, size, size),
            (4, 3, 3, 2),
        )
        for mode in ("SAME_UPPER", "SAME_LOWER", "VALID")
        for size, step in ((8, 2), (7, 1), (7, 3))
    ],
    conv("same even lower bias", '<auto_pad = "SAME_LOWER">', (2, 6, 6), (2, 2, 4, 4)),
    conv("groups", "<group = 3, pads = [1, 1, 1, 1]>", (6, 5, 5), (9, 2, 3, 3)),
    conv("depthwise bias", "<group = 4, strides = [2, 2]>", (4, 6, 6), (4, 1, 3, 3)),
    conv("depthwise of two", "<group = 3>", (3, 6, 6), (6, 1, 2, 2)),
    transposed("transposed", "strides = [2, 2]", (4, 3, 5), (4, 3, 2, 2)),
    transposed("transposed bias 1d", "strides = [3], pads = [1, 2], output_padding = [1]", (3, 6), (3, 4, 4)),
    transposed("transposed overlap", "strides = [2, 1], pads = [1, 0, 1, 2]", (3, 4, 5), (3, 2, 3, 4)),
    transposed("transposed dilated", "dilations = [2, 1], pads = [3, 0, 0, 0]", (2, 4, 4), (2, 3, 2, 3)),
    transposed("transposed pads past the kernel", "strides = [2, 2], pads = [2, 2, 3, 2]", (3, 5, 6), (3, 2, 2, 2)),
    transposed("transposed groups bias", "strides = [2, 2]", (6, 3, 3), (6, 2, 3, 2), 3),
    transposed("transposed depthwise", "strides = [2, 2], pads = [1, 1, 1, 1]", (4, 4, 4), (4, 1, 4, 4), 4),
    transposed("transposed 3d", "strides = [2, 1, 2]", (2, 2, 3, 2), (2, 3, 2, 2, 1)),
    transposed("transposed norm", "strides = [2, 2]", (4, 3, 3), (4, 5, 2, 2), 1, NORM.format("y", "a")),
    conv("norm", "", (3, 4, 4), (5, 3, 2, 2), NORM.format("y", "a")),
    conv("norm bias", "<group = 2>", (4, 4, 4), (6, 2, 2, 2), NORM.format("y", "a")),
    conv("mul add", "", (3, 4, 4), (5, 3, 2, 2), "[p] c = Mul(a, k) [q] y = Add(e, c)"),
    conv(
        "mul add norm mul bias",
        "",
        (3, 4, 4),
        (5, 3, 2, 2),
        "[p] c = Mul(k, a) [q] d = Add(c, one) " + NORM.format("f", "d") + " [z] y = Mul(f, one)",
    ),
    *[
        Layer(
            f"gemm {turned} {kind}",
            f"(float[N,6] x) => (float[N,4] y) {{ [l] y = Gemm<transB = {turned}, alpha = 0.7, beta = 1.3>(x, w, b) }}",
            {"w": (4, 6) if turned else (6, 4), "b": given},
            -1,
        )
        for turned in (0, 1)
        for kind, given in (("row", (1, 4)), ("vector", (4,)), ("scalar", np.array(0.3, np.float32)), ("one", (1, 1)))
    ],
    Layer("gemm alone", "(float[N,6] x) => (float[N,4] y) { [l] y = Gemm(x, w) }", {"w": (6, 4)}, -1),
    Layer("matmul", "(float[N,S,6] x) => (float[N,S,4] y) { [l] y = MatMul(x, w) }", {"w": (6, 4)}, -1),
    Layer(
        "matmul add",
        "(float[N,3,S,6] x) => (float[N,3,S,4] y) { [l] a = MatMul(x, w) [q] y = Add(b, a) }",
        {"w": (6, 4), "b": (4,)},
        -1,
    ),
    Layer(
        "matmul mul add",
        "(float[N,S,6] x) => (float[N,S,4] y) { [l] a = MatMul(x, w) [p] c = Mul(a, k) [q] y = Add(c, b) }",
        {"w": (6, 4), "b": (1, 1, 4), "k": (1, 4)},
        -1,
    ),
]
every = pytest.mark.parametrize("layer", LAYERS, ids=[layer.name for layer in LAYERS])


def opened(layer: Layer, batch: int = 3) -> tuple[Model, RepairLayer, np.ndarray, np.ndarray]:
    """The model, its site, and input and output of a batch."""
    proto = layer.proto()
    feeds = random_feeds(proto, batch)
    model = load(proto)
    view = DataFlow(model)
    site = site_of(view, view.nodes["l"], analyse(model, feeds, ONE_THREAD).sizes)
    return model, site, feeds["x"], run(to_proto(model), feeds)[0]


def as_rows(values: np.ndarray, axis: int) -> np.ndarray:
    return np.moveaxis(values, axis, -1).reshape(-1, values.shape[axis])


def product(rows: np.ndarray, matrix: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """(rows, channels) of a layer, group behind group."""
    made: np.ndarray = np.concatenate([rows[:, g] @ matrix[g] for g in range(len(matrix))], axis=1) + shift
    return made


@every
def test_rows_times_matrix_is_the_exit(layer: Layer) -> None:
    model, site, x, y = opened(layer)
    node = DataFlow(model).nodes["l"]
    assert (site.exit, site.axis) == ("y", layer.axis)
    rows, matrix = matrices.rows(node, x), matrices.exit_matrix(model, node, site.scale)
    assert matrix.shape == matrices.shape_of(node)
    assert rows.dtype == matrix.dtype == np.float64
    np.testing.assert_allclose(product(rows, matrix, site.shift), as_rows(y, layer.axis), rtol=1e-4, atol=1e-5)


@every
def test_picked_places_are_the_same_rows(layer: Layer) -> None:
    model, site, x, y = opened(layer)
    node = DataFlow(model).nodes["l"]
    space = np.moveaxis(y, site.axis, -1).shape[1:-1]
    positions = int(np.prod(space))
    if not space:  # one row for each sample: nothing to pick from
        return
    places = np.sort(np.random.default_rng(0).permutation(positions)[: max(1, positions // 3)])
    every_row = matrices.rows(node, x).reshape(len(x), positions, *matrices.shape_of(node)[:2])
    wanted = every_row[:, places].reshape(-1, *every_row.shape[2:])
    np.testing.assert_array_equal(matrices.rows(node, x, places), wanted)
    told = as_rows(y, site.axis).reshape(len(x), positions, -1)[:, places]
    np.testing.assert_array_equal(matrices.picked(np.moveaxis(y, site.axis, -1), 1, places).reshape(told.shape), told)


@every
def test_what_is_written_comes_out(layer: Layer) -> None:
    """Any matrix, and any shift where there is a bias to carry it; nothing else in the file changes."""
    model, site, x, _ = opened(layer)
    node, before = DataFlow(model).nodes["l"], to_proto(model)
    random = np.random.default_rng(1)
    matrix = random.standard_normal(matrices.shape_of(node))
    shift = random.standard_normal(len(site.shift)) if site.bias else site.shift
    matrices.write(model, site, matrix, shift)
    after = to_proto(model)
    onnx.checker.check_model(after, full_check=True)
    found = as_rows(run(after, {"x": x})[0], layer.axis)
    np.testing.assert_allclose(found, product(matrices.rows(node, x), matrix, shift), rtol=1e-4, atol=1e-4)
    assert [n.SerializeToString() for n in after.graph.node] == [n.SerializeToString() for n in before.graph.node]
    old, new = initialisers(before), initialisers(after)
    assert {name: (v.shape, v.dtype) for name, v in new.items()} == {
        name: (v.shape, v.dtype) for name, v in old.items()
    }
    touched = {name for name in old if not np.array_equal(old[name], new[name])}
    bias = DataFlow(model).nodes[site.bias.node].inputs[site.bias.operand].name if site.bias else "w"
    assert touched == {"w", bias}


def test_which_bias_carries_the_shift() -> None:
    """The last one; a scalar, or one constant for several layers, is none."""
    carriers = {layer.name: opened(layer)[1].bias for layer in LAYERS}
    held = {name: (bias.node, bias.operand) for name, bias in carriers.items() if bias}
    assert held["norm bias"] == held["norm"] == ("n", 2)
    assert (held["mul add"], held["matmul add"], held["matmul mul add"]) == (("q", 0), ("q", 0), ("q", 1))
    assert held["mul add norm mul bias"] == ("n", 2)
    assert held["gemm 1 row"] == held["conv 3d bias"] == ("l", 2)
    assert {"gemm 0 scalar", "gemm 1 one", "groups", "gemm alone", "matmul"}.isdisjoint(held)


def test_dead_channels_stay_finite_and_as_they_were() -> None:
    """Where BatchNorm multiplies by nothing no weight can bring a channel back; its shift still can change."""
    layer = conv("norm", "", (3, 4, 4), (5, 3, 2, 2), NORM.format("y", "a"))
    layer.weights["s"] = np.array([1, 0, -0.5, 1e-12, 1], np.float32)
    model, site, x, _ = opened(layer)
    node, old = DataFlow(model).nodes["l"], initialisers(to_proto(model))["w"]
    matrix = np.random.default_rng(1).standard_normal(matrices.shape_of(node))
    shift = np.arange(5.0)
    matrices.write(model, site, matrix, shift)
    new = initialisers(to_proto(model))["w"]
    assert np.isfinite(new).all()
    assert np.abs(new).max() < 1e2
    np.testing.assert_array_equal(new[[1, 3]], old[[1, 3]])
    matrix[..., [1, 3]] = 0
    found = as_rows(run(to_proto(model), {"x": x})[0], 1)
    np.testing.assert_allclose(found, product(matrices.rows(node, x), matrix, shift), rtol=1e-4, atol=1e-4)


def test_all_channels_dead() -> None:
    layer = conv("mul bias", "", (3, 4, 4), (5, 3, 2, 2), "[p] y = Mul(a, k)")
    layer.weights["k"] = np.zeros((5, 1, 1), np.float32)
    model, site, x, y = opened(layer)
    matrices.write(model, site, np.ones(matrices.shape_of(DataFlow(model).nodes["l"])), np.ones(5))
    for values in initialisers(to_proto(model)).values():
        assert np.isfinite(values).all()
    np.testing.assert_array_equal(run(to_proto(model), {"x": x})[0], y)
