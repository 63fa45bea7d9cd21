"""Convolutions in any number of dimensions: plain, grouped, depthwise, transposed."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import fx, nn
from torch.nn import functional

from graphprune.torch_bridge.functions.space import same_padding
from graphprune.torch_bridge.rules import CONTRIB, NodeConversion, rule
from graphprune.torch_bridge.weights import is_named

_CONV: dict[int, type[nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED: dict[int, type[nn.Module]] = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_FUNCTIONS = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_TRANSPOSED_FUNCTIONS = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}


@rule("Conv")
def conv(node: NodeConversion) -> fx.Node:
    """``x (N, C, *space)``, ``w (M, C / group, *kernel)``, ``b (M)``: a layer where the weight is a constant."""
    kernel = _kernel(node)
    rank = len(kernel)
    x, padding = padded(node, kernel)
    options = {
        "stride": tuple(node.attr("strides", [1] * rank)),
        "padding": padding,
        "dilation": tuple(node.attr("dilations", [1] * rank)),
        "groups": node.attr("group", 1),
    }
    if not _has_layer(node):
        return node.call(_FUNCTIONS[rank], x, node.tensor(1), node.tensor(2) if node.has(2) else None, **options)
    out, inner = node.dims(1)[:2]

    def make() -> nn.Module:
        return _CONV[rank](inner * options["groups"], out, kernel, bias=_has_bias(node), device="meta", **options)

    return node.layer(make, [x], _members(node), options=sorted(options.items()))


@rule("FusedConv", domain=CONTRIB)
def fused_conv(node: NodeConversion) -> fx.Node:
    """Refused: what is fused for one processor is not trained."""
    node.refuse("it is a fusion for one processor", "give the model as it was exported, before optimisation")


@rule("ConvTranspose")
def conv_transpose(node: NodeConversion) -> fx.Node:
    """``x (N, C, *space)``, ``w (C, M / group, *kernel)``, ``b (M)``."""
    kernel = _kernel(node)
    rank = len(kernel)
    begins, ends = _pads(node, rank)
    if node.attr("output_shape") or node.attr("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        node.refuse("its padding follows from the shape of its output")
    extra = node.attr("output_padding", [0] * rank)
    stride = tuple(node.attr("strides", [1] * rank))
    options: dict[str, Any] = {
        "stride": stride,
        "padding": tuple(begins),
        "output_padding": tuple(a + b - e for a, b, e in zip(extra, begins, ends, strict=True)),
        "groups": node.attr("group", 1),
        "dilation": tuple(node.attr("dilations", [1] * rank)),
    }
    reach = zip(options["output_padding"], stride, options["dilation"], strict=True)
    cut: list[int] = []
    if any(
        not 0 <= pad < max(step, spread) for pad, step, spread in reach
    ):  # torch wants less than a stride: crop instead
        options |= {"padding": (0,) * rank, "output_padding": (0,) * rank}
        cut = [p for begin, end, e in reversed(list(zip(begins, ends, extra, strict=True))) for p in (-begin, e - end)]
    if not _has_layer(node):
        bias = node.tensor(2) if node.has(2) else None
        y = node.call(_TRANSPOSED_FUNCTIONS[rank], node.tensor(0), node.tensor(1), bias, **options)
    else:
        inner, out = node.dims(1)[:2]

        def make() -> nn.Module:
            out_channels = out * options["groups"]
            return _TRANSPOSED[rank](inner, out_channels, kernel, bias=_has_bias(node), device="meta", **options)

        y = node.layer(make, [node.tensor(0)], _members(node), options=sorted(options.items()))
    return node.call(functional.pad, y, cut) if cut else y


def _has_layer(node: NodeConversion) -> bool:
    return node.is_weight(1) and (not node.has(2) or node.is_weight(2, 1))


def _members(node: NodeConversion) -> dict[str, int]:
    return {"weight": 1, "bias": 2} if _has_bias(node) else {"weight": 1}


def _has_bias(node: NodeConversion) -> bool:
    """Whether there is a bias at all: exporters write zeros, which nobody named, for none."""
    return node.has(2) and (is_named(node.input_name(2)) or bool(np.any(node.array(2))))


def _kernel(node: NodeConversion) -> tuple[int, ...]:
    shape = node.shape(1)
    kernel = node.attr("kernel_shape") or (list(shape[2:]) if shape is not None else [])
    if not kernel or len(kernel) > 3 or not all(isinstance(size, int) for size in kernel):
        node.refuse(f"torch has no convolution with the kernel {kernel}")
    return tuple(kernel)


def _pads(node: NodeConversion, rank: int) -> tuple[list[int], list[int]]:
    pads = node.attr("pads", [0] * 2 * rank)
    return list(pads[:rank]), list(pads[rank:])


def padded(node: NodeConversion, kernel: tuple[int, ...], value: float = 0.0) -> tuple[fx.Node, tuple[int, ...]]:
    """The input, padded where both ends differ, and the padding that is left for the layer."""
    rank = len(kernel)
    x, mode = node.tensor(0), node.attr("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        strides = node.attr("strides", [1] * rank)
        spread = node.attr("dilations", [1] * rank)
        x = node.call(same_padding, x, kernel, tuple(strides), tuple(spread), mode == "SAME_LOWER", value)
        return x, (0,) * rank
    begins, ends = ([0] * rank, [0] * rank) if mode == "VALID" else _pads(node, rank)
    if begins == ends and all(pad >= 0 for pad in begins):
        return x, tuple(begins)
    uneven = [pad for begin, end in reversed(list(zip(begins, ends, strict=True))) for pad in (begin, end)]
    return node.call(functional.pad, x, uneven, "constant", value), (0,) * rank
