"""Operators that pick or place entries by index: what is indexed is frozen, the rest passes through."""

from __future__ import annotations

from graphprune.axes.algebra import Axes, Axis, Concat, is_frozen, is_same, size_of
from graphprune.axes.rules import NodeTyping, require, rule
from graphprune.axes.rules.pieces import cut_out


@rule("Gather")
def gather(node: NodeTyping) -> list[Axes] | None:
    """``data[:axis] + indices + data[axis + 1:]``."""
    data, indices = require(node.axes(0)), require(node.axes(1))
    axis = node.attr("axis", 0) % len(data)
    picked = node.picked(1)
    if picked is not None:
        node.unify(data[axis], picked)
    elif not _takes_one(node, data[axis]):
        node.freeze(data[axis], "Gather picks from it by index")
    return [(*data[:axis], *indices, *data[axis + 1 :])]


def _takes_one(node: NodeTyping, axis: Axis) -> bool:
    """Whether a fixed index takes one part, as of queries, keys and values in a stack, and leaves the others alone."""
    chosen = node.ints(1) if node.is_constant(1) else None
    if chosen is None or len(chosen) != 1 or is_frozen(axis):
        return False
    if any(is_same(least.axis, axis) for least in node.typing.least):  # a loop over experts, unrolled
        node.freeze(axis, "each index of it has nodes of its own")
        return False
    index = chosen[0] % size_of(axis)
    before, part, after = cut_out(axis, index, index + 1)
    counted = before if chosen[0] >= 0 else Concat((part, after))
    if not is_frozen(counted):
        node.size(counted, operand=1, element=0, is_negative=chosen[0] < 0)
    return True


@rule("GatherElements")
def gather_elements(node: NodeTyping) -> list[Axes] | None:
    """Indices have the shape of the result; axes of equal size pass through only along the index."""
    data, indices = require(node.axes(0)), require(node.axes(1))
    _tie_beside(node, data, (indices,), "picks from it by index")
    return [indices]


def _tie_beside(node: NodeTyping, data: Axes, others: tuple[Axes, ...], use: str) -> None:
    """Beside the indexed axis entries meet those of their own place, where all go through the whole axis."""
    axis = node.attr("axis", 0) % len(data)
    picked = node.picked(1)
    if picked is not None:
        node.unify(data[axis], picked)
    else:
        node.freeze(data[axis], f"{node.op} {use}")
    for other in others:
        for index, (one, two) in enumerate(zip(data, other, strict=True)):
            if index == axis and picked is not None:
                node.freeze(two, f"{node.op} counts along it")
            elif index == axis or size_of(one) != size_of(two):
                node.freeze(one, f"{node.op} {use}")
                node.freeze(two, f"{node.op} counts along it")
            else:
                node.unify(one, two)


@rule("GatherND")
def gather_nd(node: NodeTyping) -> list[Axes] | None:
    """The leading axes of the data are indexed, the trailing ones pass through."""
    data, indices = require(node.axes(0)), require(node.axes(1))
    batch, depth = node.attr("batch_dims", 0), size_of(indices[-1])
    for one, two in zip(data[:batch], indices[:batch], strict=True):
        node.unify(one, two)
    node.freeze_all(data[batch : batch + depth], "GatherND picks from it by index")
    node.freeze(indices[-1], "it holds an index")
    return [(*indices[:-1], *data[batch + depth :])]


@rule("ScatterND")
def scatter_nd(node: NodeTyping) -> list[Axes] | None:
    """Result and data have one shape; the leading axes are indexed."""
    data, indices, updates = (require(node.axes(i)) for i in range(3))
    depth = size_of(indices[-1])
    node.freeze_all((*data[:depth], *indices), "ScatterND writes into it by index")
    for one, two in zip(updates, (*indices[:-1], *data[depth:]), strict=True):
        node.unify(one, two)
    return [data]


@rule("ScatterElements")
def scatter_elements(node: NodeTyping) -> list[Axes] | None:
    """Result and data have one shape, indices and updates another; axes of equal size pass through beside the index."""
    data, indices, updates = (require(node.axes(i)) for i in range(3))
    _tie_beside(node, data, (indices, updates), "writes into it by index")
    return [data]


@rule("OneHot")
def one_hot(node: NodeTyping) -> list[Axes] | None:
    """The new axis counts classes: those that the indices count, where that is known."""
    indices, shape = require(node.axes(0)), require(node.out_shape())
    axis, picked = node.attr("axis", -1) % len(shape), node.picked(0)
    if picked is not None and size_of(picked) == shape[axis]:
        node.size(picked, operand=1)
        return [(*indices[:axis], picked, *indices[axis:])]
    if picked is not None:
        node.freeze(picked, "OneHot counts more than it")
    return [(*indices[:axis], node.frozen(shape[axis], "OneHot counts along it"), *indices[axis:])]


@rule(
    "Range",
    "NonZero",
    "EyeLike",
    "Compress",
    "Unique",
    "Shape",
    "Size",
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomUniform",
    "RandomNormalLike",
    "RandomUniformLike",
)
def generated(node: NodeTyping) -> list[Axes] | None:
    """New axes that nobody can shorten; what the input lends stays whole."""
    for operand in range(len(node.inputs)):
        if node.has(operand) and node.op not in ("Shape", "Size"):
            node.freeze_all(node.axes(operand) or (), f"{node.op} counts through it")
    return [
        tuple(node.frozen(size, f"{node.op} makes it") for size in require(node.out_shape(index)))
        for index in range(len(node.outputs))
    ]
