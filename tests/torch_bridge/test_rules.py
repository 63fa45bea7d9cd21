"""Operators in uses that the zoo has not: each must compute what ONNX Runtime does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the bridge leads to torch")

import torch

from graphprune.torch_bridge import to_torch
from graphprune.torch_bridge.functions import norms
from tests.torch_bridge.checks import check, outputs_of_module
from tests.torch_bridge.graphs import build, draw, node

IMAGE = draw(2, 4, 9, 8)
FLOAT, INT = np.float32, np.int64


def _ints(*values: int) -> np.ndarray:
    return np.array(values, INT)


Case = tuple[str, dict[str, np.ndarray], dict[str, Any]]
"""Inputs of the node, weights, attributes; the data is x."""

CONVOLUTIONS: dict[str, Case] = {
    "Conv uneven pads": ("x w b", {"w": draw(6, 4, 3, 3), "b": draw(6)}, {"pads": [1, 0, 2, 1]}),
    "Conv same upper": ("x w", {"w": draw(6, 4, 3, 2)}, {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    "Conv same lower": ("x w", {"w": draw(6, 4, 4, 2)}, {"auto_pad": "SAME_LOWER", "strides": [2, 3]}),
    "Conv grouped dilated": ("x w", {"w": draw(8, 2, 3, 3)}, {"group": 2, "dilations": [2, 1]}),
    "ConvTranspose": ("x w b", {"w": draw(4, 3, 3, 3), "b": draw(6)}, {"group": 2, "strides": [2, 2], "pads": [1] * 4}),
    "ConvTranspose output padding": (
        "x w",
        {"w": draw(4, 3, 3, 3)},
        {"strides": [2, 2], "pads": [1] * 4, "output_padding": [1, 0]},
    ),
    "ConvTranspose uneven": ("x w", {"w": draw(4, 3, 3, 3)}, {"strides": [2, 2], "pads": [0, 1, 2, 0]}),
}
POOLS: dict[str, Case] = {
    "MaxPool": ("x", {}, {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1}),
    "MaxPool uneven": ("x", {}, {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 0, 1]}),
    "MaxPool same": ("x", {}, {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    "MaxPool wide pads": ("x", {}, {"kernel_shape": [3, 3], "pads": [2, 2, 2, 2], "dilations": [2, 2]}),
    "AveragePool": ("x", {}, {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    "AveragePool counted": ("x", {}, {"kernel_shape": [3, 3], "pads": [1] * 4, "count_include_pad": 1}),
    "AveragePool uneven": ("x", {}, {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 0, 1]}),
    "AveragePool same": ("x", {}, {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_LOWER"}),
    "LpPool": ("x", {}, {"kernel_shape": [2, 2], "p": 2}),
    "GlobalMaxPool": ("x", {}, {}),
    "GlobalLpPool": ("x", {}, {}),
}
NORMS: dict[str, Case] = {
    "BatchNormalization": (
        "x s b m v",
        {"s": draw(4), "b": draw(4, seed=1), "m": draw(4, seed=2), "v": np.abs(draw(4, seed=3))},
        {"epsilon": 1e-3},
    ),
    "InstanceNormalization": ("x s b", {"s": draw(4), "b": draw(4, seed=1)}, {}),
    "LayerNormalization two axes": ("x s b", {"s": draw(9, 8), "b": draw(9, 8, seed=1)}, {"axis": 2}),
    "LayerNormalization no bias": ("x s", {"s": draw(8)}, {}),
    "LayerNormalization narrow scale": ("x s", {"s": draw(8)}, {"axis": 2}),
    "LRN": ("x", {}, {"size": 3, "alpha": 0.5}),
    "LpNormalization": ("x", {}, {"axis": 1, "p": 2}),
    "MeanVarianceNormalization": ("x", {}, {}),
}
ELEMENTS: dict[str, Case] = {
    "PRelu channels": ("x s", {"s": draw(4, 1, 1)}, {}),
    "PRelu one": ("x s", {"s": draw(1)}, {}),
    "PRelu last axis": ("x s", {"s": draw(8)}, {}),
    "Clip": ("x l h", {"l": np.array(-0.5, FLOAT), "h": np.array(0.5, FLOAT)}, {}),
    "Clip above": ("x _ h", {"h": np.array(0.5, FLOAT)}, {}),
    "Selu": ("x", {}, {}),
    "Selu other": ("x", {}, {"alpha": 1.2, "gamma": 2.0}),
    "Celu": ("x", {}, {"alpha": 0.7}),
    "HardSigmoid": ("x", {}, {"alpha": 0.3}),
    "Shrink": ("x", {}, {"lambd": 0.4, "bias": 0.1}),
    "ThresholdedRelu": ("x", {}, {"alpha": 0.3}),
    "Max": ("x a b", {"a": draw(8), "b": np.array(0.2, FLOAT)}, {}),
    "Mean": ("x a", {"a": draw(4, 1, 1)}, {}),
    "Sum": ("x a", {"a": draw(4, 1, 1)}, {}),
    "Mod": ("x a", {"a": np.array(0.3, FLOAT)}, {"fmod": 1}),
    "IsInf": ("x", {}, {}),
}
SHAPES: dict[str, Case] = {
    "Flatten": ("x", {}, {"axis": 2}),
    "Flatten from the end": ("x", {}, {"axis": -1}),
    "Transpose": ("x", {}, {}),
    "Reshape with zero": ("x s", {"s": _ints(0, -1, 8)}, {}),
    "Slice backwards": ("x s e a t", {"s": _ints(7), "e": _ints(-100), "a": _ints(-1), "t": _ints(-2)}, {}),
    "Slice": ("x s e a", {"s": _ints(1, -6), "e": _ints(3, 2**62), "a": _ints(1, 2)}, {}),
    "Pad reflect": ("x p", {"p": _ints(0, 0, 2, 1, 0, 0, 1, 3)}, {"mode": "reflect"}),
    "Pad edge channels": ("x p", {"p": _ints(0, 2, 0, 0, 0, 1, 0, 0)}, {"mode": "edge"}),
    "Pad value": ("x p v", {"p": _ints(0, 1, 0, -1, 0, 2, 0, 0), "v": np.array(1.5, FLOAT)}, {}),
    "Pad axes": ("x p _ a", {"p": _ints(1, 2), "a": _ints(-1)}, {}),
    "DepthToSpace": ("x", {}, {"blocksize": 2}),
    "DepthToSpace columns first": ("x", {}, {"blocksize": 2, "mode": "CRD"}),
    "SpaceToDepth": ("x", {}, {"blocksize": 1}),
    "Expand": ("x s", {"s": _ints(3, 1, 1, 1, 1)}, {}),
    "Tile": ("x s", {"s": _ints(1, 2, 1, 3)}, {}),
    "Squeeze": ("x", {}, {}),
    "Unsqueeze": ("x a", {"a": _ints(-1, 0)}, {}),
    "Trilu": ("x k", {"k": np.array(-1, INT)}, {"upper": 0}),
    "CumSum": ("x a", {"a": np.array(2, INT)}, {"exclusive": 1, "reverse": 1}),
    "Gather": ("x i", {"i": np.array([[0, -1], [2, 1]], INT)}, {"axis": 2}),
    "GatherElements": ("x i", {"i": np.array([[[[0, -1]]]], INT)}, {"axis": 3}),
    "GatherND": ("x i", {"i": np.array([[[1, 2], [-1, 0]]] * 2, INT)}, {"batch_dims": 1}),
    "ScatterND": ("x i u", {"i": np.array([[0], [-1]], INT), "u": draw(2, 4, 9, 8, seed=5)}, {"reduction": "add"}),
    "ScatterND largest": ("x i u", {"i": np.array([[0], [-1]], INT), "u": draw(2, 4, 9, 8)}, {"reduction": "max"}),
    "ScatterElements": ("x i u", {"i": np.array([[[[3], [-1]]]], INT), "u": draw(1, 1, 2, 1)}, {"axis": 2}),
    "Compress": ("x c", {"c": np.array([True, False, True])}, {"axis": 1}),
    "EyeLike": ("z", {}, {"k": 1}),
}
REDUCTIONS: dict[str, Case] = {
    **{
        name: ("x a", {"a": _ints(1, -1)}, {"keepdims": keeps})
        for name in ("ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp", "ReduceProd", "ReduceMin")
        for keeps in (0,)
    },
    "ReduceMean": ("x", {}, {}),
    "ReduceSum no axes": ("x", {}, {"noop_with_empty_axes": 1}),
    "ArgMax": ("x", {}, {"axis": 2}),
    "ArgMin": ("x", {}, {"axis": 2, "keepdims": 0, "select_last_index": 1}),
    "LogSoftmax": ("x", {}, {"axis": 1}),
}
_S = np.array([1, 1, 2.3, 0.6], FLOAT)
RESIZES: dict[str, Case] = {
    f"Resize {mode} {how}": ("x _ s", {"s": _S}, {"mode": mode, "coordinate_transformation_mode": how})
    for mode in ("nearest", "linear", "cubic")
    for how in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
}
RESIZES |= {
    "Resize sizes": ("x _ _ t", {"t": _ints(2, 4, 5, 20)}, {"mode": "linear"}),
    "Resize nearest floor": (
        "x _ s",
        {"s": _S},
        {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
    ),
    "Resize ceil": ("x _ s", {"s": _S}, {"mode": "nearest", "nearest_mode": "ceil"}),
    "Resize axes": ("x _ _ t", {"t": _ints(5, 20)}, {"mode": "linear", "axes": [2, 3]}),
    "Resize cubic outside": ("x _ s", {"s": _S}, {"mode": "cubic", "exclude_outside": 1, "cubic_coeff_a": -0.5}),
}
CASES = CONVOLUTIONS | POOLS | NORMS | ELEMENTS | SHAPES | REDUCTIONS | RESIZES


@pytest.mark.parametrize("name", CASES)
def test_an_operator_computes_what_the_runtime_does(name: str) -> None:
    inputs, weights, attributes = CASES[name]
    feed = {"z": draw(3, 4)} if inputs == "z" else {"x": IMAGE if name != "DepthToSpace" else draw(2, 8, 3, 3)}
    model = build([node(name.split()[0], inputs, **attributes)], feed, weights)
    found = check(model, feed)
    assert found.error <= 1e-5
    assert found.error_after_change <= 1e-5
    assert found.is_same_again
    assert not found.unreached


@pytest.mark.parametrize("opset", [11, 12])
def test_softmax_of_old_models_runs_over_all_axes_from_its_own_on(opset: int) -> None:
    model = build([node("Softmax", "x", axis=2)], {"x": IMAGE}, opset=opset)
    assert check(model, {"x": IMAGE}).error <= 1e-5


def test_group_norm_has_weights_per_channel() -> None:
    weights = {"s": draw(4), "b": draw(4, seed=1)}
    model = build([node("GroupNormalization", "x s b", num_groups=2)], {"x": IMAGE}, weights, opset=21)
    assert check(model, {"x": IMAGE}).is_good


def test_group_norm_of_opset_18_has_weights_per_group() -> None:
    x, scale, bias = (torch.from_numpy(each) for each in (IMAGE[:, :1].repeat(6, 1), draw(3), draw(3, seed=1)))
    normal = torch.nn.functional.group_norm(x, 3, eps=1e-3).reshape(len(x), 3, -1)
    wanted = (normal * scale[:, None] + bias[:, None]).reshape(x.shape)
    assert torch.allclose(norms.group_norm_per_group(x, 3, scale, bias, 1e-3), wanted, atol=1e-6)


def test_integers_are_divided_towards_zero() -> None:
    feed = {"x": np.array([-7, 7, -8], INT)}
    model = build([node("Div", "x d")], feed, {"d": np.array(2, INT)})
    found: list[int] = outputs_of_module(to_torch(model), model, feed)[0].tolist()
    assert found == [-3, 3, -4]


def test_top_k_gives_values_and_places() -> None:
    nodes = [node("TopK", "x k", "y i", axis=1, largest=0)]
    model = build(nodes, {"x": IMAGE}, {"k": _ints(2)}, outputs=("y", "i"))
    assert check(model, {"x": IMAGE}).error <= 1e-6


def test_one_hot() -> None:
    feed = {"x": np.array([[0, 2], [-1, 1]], INT)}
    weights: dict[str, np.ndarray] = {"depth": np.array(3, INT), "values": np.array([0.5, 2.0], FLOAT)}
    model = build([node("OneHot", "x depth values", axis=1)], feed, weights)
    assert check(model, feed).error <= 1e-6


@pytest.mark.parametrize("opset", [18, 21])
def test_group_norm_takes_free_sizes(opset: int) -> None:
    """What follows asks for the number of axes."""
    weights = {"s": draw(2 if opset == 18 else 4), "b": draw(2 if opset == 18 else 4, seed=1), "w": draw(3, 4, 1, 1)}
    nodes = [
        node("GroupNormalization", "x s b", "a", num_groups=2),
        node("Relu", "a", "c"),
        node("Conv", "c w", "d"),
        node("GlobalAveragePool", "d", "e"),
        node("Flatten", "e", "y"),
    ]
    model = build(nodes, {"x": IMAGE}, weights, opset=opset, free={"x": [0, 2, 3]})
    assert check(model, {"x": IMAGE}).is_good
