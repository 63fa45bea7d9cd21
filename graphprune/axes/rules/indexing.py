"""Operators that pick or place entries by index: what is indexed is frozen, the rest passes through."""

from __future__ import annotations

from graphprune.axes.algebra import Axes, size_of
from graphprune.axes.rules import Site, require, rule


@rule("Gather")
def gather(site: Site) -> list[Axes] | None:
    """``data[:axis] + indices + data[axis + 1:]``."""
    data, indices = require(site.axes(0)), require(site.axes(1))
    axis = site.attr("axis", 0) % len(data)
    site.freeze(data[axis], "Gather picks from it by index")
    return [(*data[:axis], *indices, *data[axis + 1 :])]


@rule("GatherElements")
def gather_elements(site: Site) -> list[Axes] | None:
    """Indices have the shape of the result; axes of equal size pass through only along the index."""
    data, indices = require(site.axes(0)), require(site.axes(1))
    axis = site.attr("axis", 0) % len(data)
    site.freeze(data[axis], "GatherElements picks from it by index")
    for index, (one, two) in enumerate(zip(data, indices, strict=True)):
        if index == axis or size_of(one) != size_of(two):
            site.freeze(one, "GatherElements picks from it by index")
            site.freeze(two, "GatherElements counts along it")
        else:
            site.unify(one, two)
    return [indices]


@rule("GatherND")
def gather_nd(site: Site) -> list[Axes] | None:
    """The leading axes of the data are indexed, the trailing ones pass through."""
    data, indices = require(site.axes(0)), require(site.axes(1))
    batch, depth = site.attr("batch_dims", 0), size_of(indices[-1])
    for one, two in zip(data[:batch], indices[:batch], strict=True):
        site.unify(one, two)
    site.freeze_all(data[batch : batch + depth], "GatherND picks from it by index")
    site.freeze(indices[-1], "it holds an index")
    return [(*indices[:-1], *data[batch + depth :])]


@rule("ScatterND")
def scatter_nd(site: Site) -> list[Axes] | None:
    """Result and data have one shape; the leading axes are indexed."""
    data, indices, updates = (require(site.axes(i)) for i in range(3))
    depth = size_of(indices[-1])
    site.freeze_all((*data[:depth], *indices), "ScatterND writes into it by index")
    for one, two in zip(updates, (*indices[:-1], *data[depth:]), strict=True):
        site.unify(one, two)
    return [data]


@rule("ScatterElements")
def scatter_elements(site: Site) -> list[Axes] | None:
    """Everything it touches is frozen: updates may cover a part of every axis."""
    reason = f"{site.node.op} writes into it by index"
    for operand in range(3):
        site.freeze_all(require(site.axes(operand)), reason)
    return [require(site.axes(0))]


@rule("OneHot")
def one_hot(site: Site) -> list[Axes] | None:
    """The new axis counts classes."""
    indices, shape = require(site.axes(0)), require(site.out_shape())
    axis = site.attr("axis", -1) % len(shape)
    return [(*indices[:axis], site.frozen(shape[axis], "OneHot counts along it"), *indices[axis:])]


@rule(
    "Range", "NonZero", "EyeLike", "Compress", "Unique", "Shape", "Size", "Bernoulli", "Multinomial", "RandomNormal",
    "RandomUniform", "RandomNormalLike", "RandomUniformLike",
)  # fmt: skip
def generated(site: Site) -> list[Axes] | None:
    """New axes that nobody can shorten; what the input lends stays whole."""
    for operand in range(len(site.node.inputs)):
        if site.has(operand) and site.node.op not in ("Shape", "Size"):
            site.freeze_all(site.axes(operand) or (), f"{site.node.op} counts through it")
    return [
        tuple(site.frozen(size, f"{site.node.op} makes it") for size in require(site.out_shape(index)))
        for index in range(len(site.node.outputs))
    ]
