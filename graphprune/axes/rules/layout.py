"""Operators that rearrange axes: Transpose, Reshape and its relatives, Expand, Tile."""

from __future__ import annotations

from graphprune.axes.algebra import ONE, Axes, Axis, Product, fresh, size_of
from graphprune.axes.rules import Site, require, rule


@rule("Transpose")
def transpose(site: Site) -> list[Axes] | None:
    """Permute."""
    x = require(site.axes(0))
    order = site.attr("perm") or range(len(x))[::-1]
    return [tuple(x[index] for index in order)]


@rule("Reshape")
def reshape(site: Site) -> list[Axes] | None:
    """Align input and output by equal running products: merging makes a product, splitting refines the source."""
    x = require(site.axes(0))
    written = _aligned(site, x)
    target = require(site.ints(1))
    for element, axis in enumerate(written):
        if target[element] == 0 and not site.attr("allowzero", 0):
            site.size(axis, operand=1, element=element, follows=x[element])
        elif target[element] != -1:
            site.size(axis, operand=1, element=element)
    return [written]


@rule("Flatten", "Squeeze", "Unsqueeze")
def reshape_by_rule(site: Site) -> list[Axes] | None:
    """Reshapes that hold no sizes."""
    return [_aligned(site, require(site.axes(0)))]


def _aligned(site: Site, x: Axes) -> Axes:
    written: Axes = tuple(map(fresh, require(site.out_shape())))
    site.unify(Product(x), Product(written))
    return written


@rule("Expand")
def expand(site: Site) -> list[Axes] | None:
    """A repeated axis is a new one, whose size is an entry of the target."""
    x, shape = require(site.axes(0)), require(site.out_shape())
    target = require(site.ints(1))
    padded: Axes = (*(ONE for _ in range(len(shape) - len(x))), *x)
    written: list[Axis] = []
    for index, (axis, size) in enumerate(zip(padded, shape, strict=True)):
        result = axis if size_of(axis) == size else fresh(size)
        written.append(result)
        element = index - (len(shape) - len(target))
        if element >= 0 and target[element] == size:
            site.size(result, operand=1, element=element)
    return [tuple(written)]


@rule("Tile")
def tile(site: Site) -> list[Axes] | None:
    """Repeated as a whole: the copies are the outer factor."""
    x, repeats = require(site.axes(0)), require(site.ints(1))
    written: list[Axis] = []
    for element, (axis, count) in enumerate(zip(x, repeats, strict=True)):
        copies = fresh(count)
        if count != 1:
            site.size(copies, operand=1, element=element)
        written.append(Product((copies, axis)))
    return [tuple(written)]


@rule("ConstantOfShape")
def constant_of_shape(site: Site) -> list[Axes] | None:
    """New axes, as large as its input says."""
    shape = require(site.out_shape())
    written: Axes = tuple(map(fresh, shape))
    for element, axis in enumerate(written):
        site.size(axis, operand=0, element=element)
    return [written]
