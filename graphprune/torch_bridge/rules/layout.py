"""Other shapes of the same elements, and pieces put together."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import torch
from torch import fx
from torch.nn import functional

from graphprune.torch_bridge.functions import arrays, space
from graphprune.torch_bridge.rules import NodeConversion, rule
from graphprune.torch_bridge.values import Number, Value


@rule("Reshape")
def reshape(node: NodeConversion) -> fx.Node:
    """Zero means "as in the input", unless the node says otherwise."""
    sizes = node.listed(1)
    if not node.attr("allowzero", 0):
        sizes = [_same(node, axis) if _is_zero(size) else size for axis, size in enumerate(sizes)]
    return node.call(torch.reshape, node.tensor(0), tuple(sizes))


def _same(node: NodeConversion, axis: int) -> Number:
    return node.size(0, axis)


def _is_zero(size: Number) -> bool:
    return not isinstance(size, fx.Node) and size == 0


@rule("Transpose")
def transpose(node: NodeConversion) -> fx.Node:
    """Axes in another order; the reverse one unless the node names it."""
    perm = node.attr("perm") or list(reversed(range(node.rank(0))))
    return node.call(torch.permute, node.tensor(0), tuple(perm))


@rule("Flatten")
def flatten(node: NodeConversion) -> fx.Node:
    """Two axes: all before ``axis``, all from it on."""
    axis = node.attr("axis", 1)
    if axis == 1:
        return node.call(torch.flatten, node.tensor(0), 1)
    return node.call(arrays.flatten, node.tensor(0), axis)


@rule("Squeeze")
def squeeze(node: NodeConversion) -> fx.Node:
    """Without axes of one; all such unless the node names some."""
    axes = node.ints(1) if node.has(1) else node.attr("axes")
    if axes is None:
        return node.call(torch.squeeze, node.tensor(0))
    return node.call(torch.squeeze, node.tensor(0), tuple(axes))


@rule("Unsqueeze")
def unsqueeze(node: NodeConversion) -> fx.Node:
    """With new axes of one."""
    axes = node.ints(1) if node.has(1) else list(node.attr("axes"))
    x = node.tensor(0)
    if any(axis < 0 for axis in axes):
        rank = node.rank(0) + len(axes)
        axes = [axis % rank for axis in axes]
    for axis in sorted(axes):
        x = node.call(torch.unsqueeze, x, axis)
    return x


@rule("Concat", "ConcatFromSequence")
def concat(node: NodeConversion) -> fx.Node:
    """One behind the other."""
    return node.call(torch.cat, node.tensors(), node.attr("axis"))


@rule("Split")
def split(node: NodeConversion) -> list[Value]:
    """Shares that are given, or equal ones of which the last may be smaller."""
    axis, count = node.attr("axis", 0), len(node.outputs)
    sizes: list[Number] | None = node.listed(1) if node.has(1) else node.attr("split")
    if sizes is None:
        size = node.size(0, axis)
        share = node.call(arrays.share, size, count) if isinstance(size, fx.Node) else -(-size // count)
        pieces = node.call(torch.split, node.tensor(0), share, axis)
    else:
        pieces = node.call(torch.split, node.tensor(0), list(sizes), axis)
    return [node.call(operator.getitem, pieces, index) for index in range(count)]


@rule("Slice", since=10)
def slice_(node: NodeConversion) -> fx.Node:
    """One slice for each axis named."""
    starts, ends = node.listed(1), node.listed(2)
    axes = node.ints(3) if node.has(3) else list(range(len(starts)))
    steps = node.ints(4) if node.has(4) else [1] * len(starts)
    x = node.tensor(0)
    if any(axis < 0 for axis in axes):
        axes = [axis % node.rank(0) for axis in axes]
    index: list[Any] = [slice(None)] * (max(axes) + 1)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step < 0:
            x = node.call(arrays.reverse_slice, x, axis, start, end, step)
        else:
            index[axis] = slice(start, _end(end), step)
    return node.call(operator.getitem, x, tuple(index)) if any(step > 0 for step in steps) else x


def _end(end: Number) -> Number | None:
    """Exporters write the largest integer for "to the end"."""
    return None if not isinstance(end, fx.Node) and end >= (1 << 31) - 1 else end


@rule("Expand")
def expand(node: NodeConversion) -> fx.Node:
    """Broadcast to sizes."""
    return node.call(arrays.expand, node.tensor(0), tuple(node.listed(1)))


@rule("Tile")
def tile(node: NodeConversion) -> fx.Node:
    """Repeated."""
    return node.call(torch.tile, node.tensor(0), tuple(node.listed(1)))


@rule("Pad", since=11)
def pad(node: NodeConversion) -> fx.Node:
    """Constants around the edges, or the tensor's own elements."""
    pads = node.listed(1)
    half = len(pads) // 2
    rank = half
    if node.has(3):
        axes, rank = node.ints(3), node.rank(0)
        full: list[Number] = [0] * 2 * rank
        for index, axis in enumerate(axes):
            full[axis % rank], full[rank + axis % rank] = pads[index], pads[half + index]
        pads = full
    before, after = pads[:rank], pads[rank:]
    mode = node.attr("mode", "constant")
    if mode != "constant":
        return node.call(space.pad_by_index, node.tensor(0), tuple(before), tuple(after), mode)
    while len(before) > 1 and all(not isinstance(p, fx.Node) and p == 0 for p in (before[0], after[0])):
        before, after = before[1:], after[1:]
    value = node.operand(2) if node.has(2) else 0
    if isinstance(value, fx.Node):
        found = node.array(2)
        if found is None:
            node.refuse("the value it pads with is computed")
        value = np.ravel(found)[0].item()
    places = [p for begin, end in reversed(list(zip(before, after, strict=True))) for p in (begin, end)]
    return node.call(functional.pad, node.tensor(0), places, "constant", value)


@rule("DepthToSpace", "SpaceToDepth")
def swap_depth(node: NodeConversion) -> fx.Node:
    """Channels into space, or back."""
    is_to_space = node.op == "DepthToSpace"
    is_channels_first = node.attr("mode", "DCR") == "CRD"
    if is_to_space and is_channels_first:
        return node.call(functional.pixel_shuffle, node.tensor(0), node.attr("blocksize"))
    return node.call(space.swap_depth, node.tensor(0), node.attr("blocksize"), is_to_space, is_channels_first)


@rule("Col2Im")
def col2im(node: NodeConversion) -> fx.Node:
    """Overlapping blocks, summed into an image."""
    if node.array(2) is None or len(node.ints(2)) != 2:
        node.refuse("torch folds blocks of two known sizes only")
    pads = node.attr("pads", [0] * 4)
    if pads[:2] != pads[2:]:
        node.refuse("torch folds with equal pads at both ends only")
    return node.call(
        functional.fold,
        node.tensor(0),
        tuple(node.listed(1)),
        tuple(node.ints(2)),
        tuple(node.attr("dilations", [1, 1])),
        tuple(pads[:2]),
        tuple(node.attr("strides", [1, 1])),
    )
