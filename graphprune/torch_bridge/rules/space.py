"""Windows that slide over space, and changes of resolution."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from graphprune.torch_bridge.functions import pooling, resizing
from graphprune.torch_bridge.rules import NodeConversion, rule
from graphprune.torch_bridge.rules.convolution import padded
from graphprune.torch_bridge.values import Number, Value

_MAX: dict[int, type[nn.Module]] = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
_AVERAGE: dict[int, type[nn.Module]] = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}


@rule("MaxPool")
def max_pool(node: NodeConversion) -> fx.Node:
    """The largest element of each window; padding never wins."""
    if node.is_read(1):
        node.refuse("the places of the largest elements are read")
    kernel = tuple(node.attr("kernel_shape"))
    rank = len(kernel)
    is_ceiled = bool(node.attr("ceil_mode", 0))
    x, padding = padded(node, kernel, float("-inf"))
    if any(2 * pad > size for pad, size in zip(padding, kernel, strict=True)):
        sides = [pad for pad in reversed(padding) for _ in range(2)]
        x, padding = node.call(functional.pad, x, sides, "constant", float("-inf")), (0,) * rank
    module = _MAX[rank](
        kernel,
        stride=tuple(node.attr("strides", [1] * rank)),
        padding=padding,
        dilation=tuple(node.attr("dilations", [1] * rank)),
        ceil_mode=is_ceiled,
    )
    return node.module(module, x)


@rule("AveragePool")
def average_pool(node: NodeConversion) -> fx.Node:
    """The mean of each window, with or without the padding in it."""
    kernel = tuple(node.attr("kernel_shape"))
    rank = len(kernel)
    pads = node.attr("pads", [0] * 2 * rank)
    stride, spread = tuple(node.attr("strides", [1] * rank)), node.attr("dilations", [1] * rank)
    counts_padding, is_ceiled = bool(node.attr("count_include_pad", 0)), bool(node.attr("ceil_mode", 0))
    is_even = node.attr("auto_pad", "NOTSET") in ("NOTSET", "VALID") and pads[:rank] == pads[rank:]
    is_small = all(2 * pad <= size for pad, size in zip(pads[:rank], kernel, strict=True))
    if is_even and is_small and set(spread) == {1}:
        options: dict[str, Any] = {"ceil_mode": is_ceiled, "count_include_pad": counts_padding}
        return node.module(_AVERAGE[rank](kernel, stride, tuple(pads[:rank]), **options), node.tensor(0))
    if set(spread) != {1}:
        node.refuse("torch averages no dilated windows")
    if is_ceiled:
        node.refuse("its pads are uneven and its last window may hang over the edge")
    x, _ = padded(node, kernel)
    if counts_padding:
        return node.module(_AVERAGE[rank](kernel, stride), x)
    ones, _ = padded_ones(node, kernel)
    return node.call(pooling.counted_mean, x, ones, kernel, stride)


def padded_ones(node: NodeConversion, kernel: tuple[int, ...]) -> tuple[fx.Node, tuple[int, ...]]:
    """Which elements of the padded input are its own."""
    ones = node.call(torch.ones_like, node.tensor(0))
    pads = node.attr("pads", [0] * 2 * len(kernel))
    rank = len(kernel)
    sides = [p for begin, end in reversed(list(zip(pads[:rank], pads[rank:], strict=True))) for p in (begin, end)]
    if node.attr("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        from graphprune.torch_bridge.functions.space import same_padding

        strides, is_lower = tuple(node.attr("strides", [1] * rank)), node.attr("auto_pad") == "SAME_LOWER"
        return node.call(same_padding, ones, kernel, strides, (1,) * rank, is_lower, 0.0), ()
    return node.call(functional.pad, ones, sides), ()


@rule("LpPool")
def lp_pool(node: NodeConversion) -> fx.Node:
    """The norm of each window."""
    kernel = tuple(node.attr("kernel_shape"))
    x, padding = padded(node, kernel)
    if any(padding):
        sides = [pad for pad in reversed(padding) for _ in range(2)]
        x = node.call(functional.pad, x, sides)
    strides = tuple(node.attr("strides", [1] * len(kernel)))
    return node.call(pooling.norm_pool, x, kernel, strides, node.attr("p", 2))


@rule("Resize", since=11)
def resize(node: NodeConversion) -> Value:
    """By torch's own interpolation where it means the same, else by index and weight, axis after axis."""
    sizes: list[Number] | None = node.listed(3) if node.has(3) else None
    if sizes is None and not node.has(2):
        node.refuse("it has neither scales nor sizes")
    mode, how = node.attr("mode", "nearest"), node.attr("coordinate_transformation_mode", "half_pixel")
    rank = node.rank(0)
    axes = [axis % rank for axis in node.attr("axes", list(range(rank)))]
    if node.attr("keep_aspect_ratio_policy", "stretch") != "stretch" or how == "tf_crop_and_resize":
        node.refuse(f"torch has no resizing by '{how}' that keeps proportions or crops")
    targets: list[Number | None] = [None] * rank
    factors: list[Number | None] = [None] * rank
    given: list[Number] = sizes if sizes is not None else node.listed(2)
    for axis, number in zip(axes, given, strict=True):
        (targets if sizes is not None else factors)[axis] = number
    if not isinstance(given[0], fx.Node) and sizes is None:
        factors = [None if factor == 1 else factor for factor in factors]
    targets = [
        None if t is not None and not isinstance(t, fx.Node) and t == _static(node, a) else t
        for a, t in enumerate(targets)
    ]
    options = {
        "mode": mode,
        "how": how,
        "rounding": node.attr("nearest_mode", "round_prefer_floor"),
        "cubic": node.attr("cubic_coeff_a", -0.75),
        "excludes_outside": bool(node.attr("exclude_outside", 0)),
        "is_smooth": bool(node.attr("antialias", 0)),
    }
    return node.call(resizing.resize, node.tensor(0), tuple(targets), tuple(factors), **options)


def _static(node: NodeConversion, axis: int) -> int | None:
    size = node.size(0, axis)
    return None if isinstance(size, fx.Node) else int(size)


@rule("Upsample", until=9)
def upsample(node: NodeConversion) -> Value:
    """Refused: old models have it."""
    node.refuse("it is of an operator set before 10", "convert the model to a newer one")


@rule("GridSample")
def grid_sample(node: NodeConversion) -> fx.Node:
    """Read at the places that a grid names."""
    mode = {"linear": "bilinear", "cubic": "bicubic"}.get(node.attr("mode", "linear"), node.attr("mode", "linear"))
    aligned = bool(node.attr("align_corners", 0))
    pads = node.attr("padding_mode", "zeros")
    return node.call(functional.grid_sample, node.tensor(0), node.tensor(1), mode, pads, aligned)
