"""Reductions and searches."""

from __future__ import annotations

from graphprune.axes.algebra import ONE, Axes, Axis
from graphprune.axes.rules import Site, require, rule

_REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")


@rule(*(f"Reduce{kind}" for kind in _REDUCTIONS))
def reduce(site: Site) -> list[Axes] | None:
    """A sum over an axis is a contraction; every other statistic depends on how many there are, or which."""
    x = require(site.axes(0))
    given = require(site.ints(1)) if site.has(1) else site.attr("axes")
    if not given:
        if site.attr("noop_with_empty_axes", 0):
            return [x]
        given = list(range(len(x)))
    over = sorted({axis % len(x) for axis in given})
    for axis in over:
        if site.node.op == "ReduceSum" and not site.is_constant(0):
            site.contract(0, axis)
        else:
            site.freeze(x[axis], f"{site.node.op} runs over it")
    return [_without(x, over, bool(site.attr("keepdims", 1)))]


@rule("ArgMax", "ArgMin")
def argument(site: Site) -> list[Axes] | None:
    """The place of the largest depends on all that come before."""
    x = require(site.axes(0))
    axis = site.attr("axis", 0) % len(x)
    site.freeze(x[axis], f"{site.node.op} runs over it")
    return [_without(x, [axis], bool(site.attr("keepdims", 1)))]


@rule("TopK")
def top_k(site: Site) -> list[Axes] | None:
    """Values and places of the k largest."""
    x = require(site.axes(0))
    axis = site.attr("axis", -1) % len(x)
    site.freeze(x[axis], "TopK runs over it")
    size = require(site.out_shape())[axis]
    written: Axes = (*x[:axis], site.frozen(size, "TopK picks it"), *x[axis + 1 :])
    return [written, written]


def _without(x: Axes, over: list[int], keep: bool) -> Axes:
    result: list[Axis] = []
    for index, axis in enumerate(x):
        if index not in over:
            result.append(axis)
        elif keep:
            result.append(ONE)
    return tuple(result)
