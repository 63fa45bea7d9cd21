"""Windows that slide over space, and changes of resolution."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from graphprune.torch_bridge.functions import pooling, resizing
from graphprune.torch_bridge.rules import Site, rule
from graphprune.torch_bridge.rules.convolution import padded
from graphprune.torch_bridge.values import Number, Value

_MAX: dict[int, type[nn.Module]] = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
_AVERAGE: dict[int, type[nn.Module]] = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}


@rule("MaxPool")
def max_pool(site: Site) -> fx.Node:
    """The largest element of each window; padding never wins."""
    if site.is_read(1):
        site.refuse("the places of the largest elements are read")
    kernel = tuple(site.attr("kernel_shape"))
    rank = len(kernel)
    is_ceiled = bool(site.attr("ceil_mode", 0))
    x, padding = padded(site, kernel, float("-inf"))
    if any(2 * pad > size for pad, size in zip(padding, kernel, strict=True)):
        sides = [pad for pad in reversed(padding) for _ in range(2)]
        x, padding = site.call(functional.pad, x, sides, "constant", float("-inf")), (0,) * rank
    module = _MAX[rank](
        kernel,
        stride=tuple(site.attr("strides", [1] * rank)),
        padding=padding,
        dilation=tuple(site.attr("dilations", [1] * rank)),
        ceil_mode=is_ceiled,
    )
    return site.module(module, x)


@rule("AveragePool")
def average_pool(site: Site) -> fx.Node:
    """The mean of each window, with or without the padding in it."""
    kernel = tuple(site.attr("kernel_shape"))
    rank = len(kernel)
    pads = site.attr("pads", [0] * 2 * rank)
    stride, spread = tuple(site.attr("strides", [1] * rank)), site.attr("dilations", [1] * rank)
    counts_padding, is_ceiled = bool(site.attr("count_include_pad", 0)), bool(site.attr("ceil_mode", 0))
    is_even = site.attr("auto_pad", "NOTSET") in ("NOTSET", "VALID") and pads[:rank] == pads[rank:]
    is_small = all(2 * pad <= size for pad, size in zip(pads[:rank], kernel, strict=True))
    if is_even and is_small and set(spread) == {1}:
        options: dict[str, Any] = {"ceil_mode": is_ceiled, "count_include_pad": counts_padding}
        return site.module(_AVERAGE[rank](kernel, stride, tuple(pads[:rank]), **options), site.tensor(0))
    if set(spread) != {1}:
        site.refuse("torch averages no dilated windows")
    if is_ceiled:
        site.refuse("its pads are uneven and its last window may hang over the edge")
    x, _ = padded(site, kernel)
    if counts_padding:
        return site.module(_AVERAGE[rank](kernel, stride), x)
    ones, _ = padded_ones(site, kernel)
    return site.call(pooling.counted_mean, x, ones, kernel, stride)


def padded_ones(site: Site, kernel: tuple[int, ...]) -> tuple[fx.Node, tuple[int, ...]]:
    """Which elements of the padded input are its own."""
    ones = site.call(torch.ones_like, site.tensor(0))
    pads = site.attr("pads", [0] * 2 * len(kernel))
    rank = len(kernel)
    sides = [p for begin, end in reversed(list(zip(pads[:rank], pads[rank:], strict=True))) for p in (begin, end)]
    if site.attr("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        from graphprune.torch_bridge.functions.space import same_padding

        strides, is_lower = tuple(site.attr("strides", [1] * rank)), site.attr("auto_pad") == "SAME_LOWER"
        return site.call(same_padding, ones, kernel, strides, (1,) * rank, is_lower, 0.0), ()
    return site.call(functional.pad, ones, sides), ()


@rule("LpPool")
def lp_pool(site: Site) -> fx.Node:
    """The norm of each window."""
    kernel = tuple(site.attr("kernel_shape"))
    x, padding = padded(site, kernel)
    if any(padding):
        sides = [pad for pad in reversed(padding) for _ in range(2)]
        x = site.call(functional.pad, x, sides)
    strides = tuple(site.attr("strides", [1] * len(kernel)))
    return site.call(pooling.norm_pool, x, kernel, strides, site.attr("p", 2))


@rule("Resize", since=11)
def resize(site: Site) -> Value:
    """By torch's own interpolation where it means the same, else by index and weight, axis after axis."""
    sizes: list[Number] | None = site.listed(3) if site.has(3) else None
    if sizes is None and not site.has(2):
        site.refuse("it has neither scales nor sizes")
    mode, how = site.attr("mode", "nearest"), site.attr("coordinate_transformation_mode", "half_pixel")
    rank = site.rank(0)
    axes = [axis % rank for axis in site.attr("axes", list(range(rank)))]
    if site.attr("keep_aspect_ratio_policy", "stretch") != "stretch" or how == "tf_crop_and_resize":
        site.refuse(f"torch has no resizing by '{how}' that keeps proportions or crops")
    targets: list[Number | None] = [None] * rank
    factors: list[Number | None] = [None] * rank
    given: list[Number] = sizes if sizes is not None else site.listed(2)
    for axis, number in zip(axes, given, strict=True):
        (targets if sizes is not None else factors)[axis] = number
    if not isinstance(given[0], fx.Node) and sizes is None:
        factors = [None if factor == 1 else factor for factor in factors]
    targets = [None if t is not None and not isinstance(t, fx.Node) and t == _static(site, a) else t
               for a, t in enumerate(targets)]  # fmt: skip
    options = {
        "mode": mode,
        "how": how,
        "rounding": site.attr("nearest_mode", "round_prefer_floor"),
        "cubic": site.attr("cubic_coeff_a", -0.75),
        "excludes_outside": bool(site.attr("exclude_outside", 0)),
        "is_smooth": bool(site.attr("antialias", 0)),
    }
    return site.call(resizing.resize, site.tensor(0), tuple(targets), tuple(factors), **options)


def _static(site: Site, axis: int) -> int | None:
    size = site.size(0, axis)
    return None if isinstance(size, fx.Node) else int(size)


@rule("Upsample", until=9)
def upsample(site: Site) -> Value:
    """Refused: old models have it."""
    site.refuse("it is of an operator set before 10", "convert the model to a newer one")


@rule("GridSample")
def grid_sample(site: Site) -> fx.Node:
    """Read at the places that a grid names."""
    mode = {"linear": "bilinear", "cubic": "bicubic"}.get(site.attr("mode", "linear"), site.attr("mode", "linear"))
    aligned = bool(site.attr("align_corners", 0))
    pads = site.attr("padding_mode", "zeros")
    return site.call(functional.grid_sample, site.tensor(0), site.tensor(1), mode, pads, aligned)
