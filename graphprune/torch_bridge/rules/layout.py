"""Other shapes of the same elements, and pieces put together."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import torch
from torch import fx
from torch.nn import functional

from graphprune.torch_bridge.functions import arrays, space
from graphprune.torch_bridge.rules import Site, rule
from graphprune.torch_bridge.values import Number, Value


@rule("Reshape")
def reshape(site: Site) -> fx.Node:
    """Zero means "as in the input", unless the node says otherwise."""
    sizes = site.listed(1)
    if not site.attr("allowzero", 0):
        sizes = [_same(site, axis) if _is_zero(size) else size for axis, size in enumerate(sizes)]
    return site.call(torch.reshape, site.tensor(0), tuple(sizes))


def _same(site: Site, axis: int) -> Number:
    return site.size(0, axis)


def _is_zero(size: Number) -> bool:
    return not isinstance(size, fx.Node) and size == 0


@rule("Transpose")
def transpose(site: Site) -> fx.Node:
    """Axes in another order; the reverse one unless the node names it."""
    perm = site.attr("perm") or list(reversed(range(site.rank(0))))
    return site.call(torch.permute, site.tensor(0), tuple(perm))


@rule("Flatten")
def flatten(site: Site) -> fx.Node:
    """Two axes: all before ``axis``, all from it on."""
    axis = site.attr("axis", 1)
    if axis == 1:
        return site.call(torch.flatten, site.tensor(0), 1)
    return site.call(arrays.flatten, site.tensor(0), axis)


@rule("Squeeze")
def squeeze(site: Site) -> fx.Node:
    """Without axes of one; all such unless the node names some."""
    axes = site.ints(1) if site.has(1) else site.attr("axes")
    if axes is None:
        return site.call(torch.squeeze, site.tensor(0))
    return site.call(torch.squeeze, site.tensor(0), tuple(axes))


@rule("Unsqueeze")
def unsqueeze(site: Site) -> fx.Node:
    """With new axes of one."""
    axes = site.ints(1) if site.has(1) else list(site.attr("axes"))
    x = site.tensor(0)
    if any(axis < 0 for axis in axes):
        rank = site.rank(0) + len(axes)
        axes = [axis % rank for axis in axes]
    for axis in sorted(axes):
        x = site.call(torch.unsqueeze, x, axis)
    return x


@rule("Concat", "ConcatFromSequence")
def concat(site: Site) -> fx.Node:
    """One behind the other."""
    return site.call(torch.cat, site.tensors(), site.attr("axis"))


@rule("Split")
def split(site: Site) -> list[Value]:
    """Shares that are given, or equal ones of which the last may be smaller."""
    axis, count = site.attr("axis", 0), len(site.node.outputs)
    sizes: list[Number] | None = site.listed(1) if site.has(1) else site.attr("split")
    if sizes is None:
        size = site.size(0, axis)
        share = site.call(arrays.share, size, count) if isinstance(size, fx.Node) else -(-size // count)
        pieces = site.call(torch.split, site.tensor(0), share, axis)
    else:
        pieces = site.call(torch.split, site.tensor(0), list(sizes), axis)
    return [site.call(operator.getitem, pieces, index) for index in range(count)]


@rule("Slice", since=10)
def slice_(site: Site) -> fx.Node:
    """One slice for each axis named."""
    starts, ends = site.listed(1), site.listed(2)
    axes = site.ints(3) if site.has(3) else list(range(len(starts)))
    steps = site.ints(4) if site.has(4) else [1] * len(starts)
    x = site.tensor(0)
    if any(axis < 0 for axis in axes):
        axes = [axis % site.rank(0) for axis in axes]
    index: list[Any] = [slice(None)] * (max(axes) + 1)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step < 0:
            x = site.call(arrays.reverse_slice, x, axis, start, end, step)
        else:
            index[axis] = slice(start, _end(end), step)
    return site.call(operator.getitem, x, tuple(index)) if any(step > 0 for step in steps) else x


def _end(end: Number) -> Number | None:
    """Exporters write the largest integer for "to the end"."""
    return None if not isinstance(end, fx.Node) and end >= (1 << 31) - 1 else end


@rule("Expand")
def expand(site: Site) -> fx.Node:
    """Broadcast to sizes."""
    return site.call(arrays.expand, site.tensor(0), tuple(site.listed(1)))


@rule("Tile")
def tile(site: Site) -> fx.Node:
    """Repeated."""
    return site.call(torch.tile, site.tensor(0), tuple(site.listed(1)))


@rule("Pad", since=11)
def pad(site: Site) -> fx.Node:
    """Constants around the edges, or the tensor's own elements."""
    pads = site.listed(1)
    half = len(pads) // 2
    rank = half
    if site.has(3):
        axes, rank = site.ints(3), site.rank(0)
        full: list[Number] = [0] * 2 * rank
        for index, axis in enumerate(axes):
            full[axis % rank], full[rank + axis % rank] = pads[index], pads[half + index]
        pads = full
    before, after = pads[:rank], pads[rank:]
    mode = site.attr("mode", "constant")
    if mode != "constant":
        return site.call(space.pad_by_index, site.tensor(0), tuple(before), tuple(after), mode)
    while len(before) > 1 and all(not isinstance(p, fx.Node) and p == 0 for p in (before[0], after[0])):
        before, after = before[1:], after[1:]
    value = site.operand(2) if site.has(2) else 0
    if isinstance(value, fx.Node):
        found = site.array(2)
        if found is None:
            site.refuse("the value it pads with is computed")
        value = np.ravel(found)[0].item()
    places = [p for begin, end in reversed(list(zip(before, after, strict=True))) for p in (begin, end)]
    return site.call(functional.pad, site.tensor(0), places, "constant", value)


@rule("DepthToSpace", "SpaceToDepth")
def swap_depth(site: Site) -> fx.Node:
    """Channels into space, or back."""
    is_to_space = site.node.op == "DepthToSpace"
    is_channels_first = site.attr("mode", "DCR") == "CRD"
    if is_to_space and is_channels_first:
        return site.call(functional.pixel_shuffle, site.tensor(0), site.attr("blocksize"))
    return site.call(space.swap_depth, site.tensor(0), site.attr("blocksize"), is_to_space, is_channels_first)


@rule("Col2Im")
def col2im(site: Site) -> fx.Node:
    """Overlapping blocks, summed into an image."""
    if site.array(2) is None or len(site.ints(2)) != 2:
        site.refuse("torch folds blocks of two known sizes only")
    pads = site.attr("pads", [0] * 4)
    if pads[:2] != pads[2:]:
        site.refuse("torch folds with equal pads at both ends only")
    return site.call(
        functional.fold, site.tensor(0), tuple(site.listed(1)), tuple(site.ints(2)),
        tuple(site.attr("dilations", [1, 1])), tuple(pads[:2]), tuple(site.attr("strides", [1, 1])),
    )  # fmt: skip
