"""Reductions and searches."""

from __future__ import annotations

from graphprune.axes.algebra import ONE, Axes, Axis
from graphprune.axes.rules import NodeTyping, require, rule

_REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")


@rule(*(f"Reduce{kind}" for kind in _REDUCTIONS))
def reduce(node: NodeTyping) -> list[Axes] | None:
    """A sum over an axis is a contraction; every other statistic depends on how many there are, or which."""
    x = require(node.axes(0))
    given = require(node.ints(1)) if node.has(1) else node.attr("axes")
    if not given:
        if node.attr("noop_with_empty_axes", 0):
            return [x]
        given = list(range(len(x)))
    over = sorted({axis % len(x) for axis in given})
    for axis in over:
        if node.op == "ReduceSum" and not node.is_constant(0):
            node.contract(0, axis)
        else:
            node.freeze(x[axis], f"{node.op} runs over it")
    return [_without(x, over, bool(node.attr("keepdims", 1)))]


@rule("ArgMax", "ArgMin")
def argument(node: NodeTyping) -> list[Axes] | None:
    """The place of the largest depends on all that come before."""
    x = require(node.axes(0))
    axis = node.attr("axis", 0) % len(x)
    node.freeze(x[axis], f"{node.op} runs over it")
    return [_without(x, [axis], bool(node.attr("keepdims", 1)))]


@rule("TopK")
def top_k(node: NodeTyping) -> list[Axes] | None:
    """Values and places of the k largest: what is never chosen may go, where only picking is done with the places."""
    x = require(node.axes(0))
    axis = node.attr("axis", -1) % len(x)
    size = require(node.out_shape())[axis]
    if node.attr("largest", 1) and node.is_read(1):
        node.choose(0, axis, size)
        node.typing.picked[node.outputs[1].name] = x[axis]
    else:
        node.freeze(x[axis], "TopK runs over it")
    written: Axes = (*x[:axis], node.frozen(size, "TopK picks it"), *x[axis + 1 :])
    return [written, written]


def _without(x: Axes, over: list[int], keep: bool) -> Axes:
    result: list[Axis] = []
    for index, axis in enumerate(x):
        if index not in over:
            result.append(axis)
        elif keep:
            result.append(ONE)
    return tuple(result)
