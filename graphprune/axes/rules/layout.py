"""Operators that rearrange axes: Transpose, Reshape and its relatives, Expand, Tile."""

from __future__ import annotations

from graphprune.axes.algebra import ONE, Axes, Axis, Product, fresh, size_of
from graphprune.axes.rules import NodeTyping, require, rule


@rule("Transpose")
def transpose(node: NodeTyping) -> list[Axes] | None:
    """Permute."""
    x = require(node.axes(0))
    order = node.attr("perm") or range(len(x))[::-1]
    return [tuple(x[index] for index in order)]


@rule("Reshape")
def reshape(node: NodeTyping) -> list[Axes] | None:
    """Align input and output by equal running products: merging makes a product, splitting refines the source."""
    x = require(node.axes(0))
    written = _aligned(node, x)
    target = require(node.ints(1))
    for element, axis in enumerate(written):
        if target[element] == 0 and not node.attr("allowzero", 0):
            node.size(axis, operand=1, element=element, follows=x[element])
        elif target[element] != -1:
            node.size(axis, operand=1, element=element)
    return [written]


@rule("Flatten", "Squeeze", "Unsqueeze")
def reshape_by_rule(node: NodeTyping) -> list[Axes] | None:
    """Reshapes that hold no sizes."""
    return [_aligned(node, require(node.axes(0)))]


def _aligned(node: NodeTyping, x: Axes) -> Axes:
    written: Axes = tuple(map(fresh, require(node.out_shape())))
    node.unify(Product(x), Product(written))
    return written


@rule("Expand")
def expand(node: NodeTyping) -> list[Axes] | None:
    """A repeated axis is a new one, whose size is an entry of the target."""
    x, shape = require(node.axes(0)), require(node.out_shape())
    target = require(node.ints(1))
    padded: Axes = (*(ONE for _ in range(len(shape) - len(x))), *x)
    written: list[Axis] = []
    for index, (axis, size) in enumerate(zip(padded, shape, strict=True)):
        result = axis if size_of(axis) == size else fresh(size)
        written.append(result)
        element = index - (len(shape) - len(target))
        if element >= 0 and target[element] == size:
            node.size(result, operand=1, element=element)
    return [tuple(written)]


@rule("Tile")
def tile(node: NodeTyping) -> list[Axes] | None:
    """Repeated as a whole: the copies are the outer factor."""
    x, repeats = require(node.axes(0)), require(node.ints(1))
    written: list[Axis] = []
    for element, (axis, count) in enumerate(zip(x, repeats, strict=True)):
        copies = fresh(count)
        if count != 1:
            node.size(copies, operand=1, element=element)
        written.append(Product((copies, axis)))
    return [tuple(written)]


@rule("ConstantOfShape")
def constant_of_shape(node: NodeTyping) -> list[Axes] | None:
    """New axes, as large as its input says."""
    shape = require(node.out_shape())
    written: Axes = tuple(map(fresh, shape))
    for element, axis in enumerate(written):
        node.size(axis, operand=0, element=element)
    return [written]
