"""Reductions, softmax, running sums and searches along axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import fx

from graphprune.torch_bridge.functions import arrays
from graphprune.torch_bridge.rules import NodeConversion, rule

_SIMPLE: Mapping[str, Callable[..., Any]] = {
    "ReduceMean": torch.mean,
    "ReduceSum": torch.sum,
    "ReduceMax": torch.amax,
    "ReduceMin": torch.amin,
    "ReduceLogSumExp": torch.logsumexp,
    "ReduceProd": arrays.reduce_product,
}


@rule(*_SIMPLE)
def simple(node: NodeConversion) -> fx.Node:
    """Over the axes named, or all."""
    axes = _axes(node)
    if axes is None:
        return node.tensor(0)
    return node.call(_SIMPLE[node.op], node.tensor(0), axes, bool(node.attr("keepdims", 1)))


@rule("ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum")
def composed(node: NodeConversion) -> fx.Node:
    """Sums of something."""
    axes, is_kept, x = _axes(node), bool(node.attr("keepdims", 1)), node.tensor(0)
    if node.op == "ReduceL1":
        return node.call(torch.sum, node.call(torch.abs, x), axes or (), is_kept)
    if node.op == "ReduceL2":
        return node.call(torch.linalg.vector_norm, x, 2, axes or (), is_kept)
    if node.op == "ReduceSumSquare":
        return node.call(torch.sum, node.call(torch.square, x), axes or (), is_kept)
    return node.call(torch.log, node.call(torch.sum, x, axes or (), is_kept))


def _axes(node: NodeConversion) -> tuple[int, ...] | None:
    """The axes to reduce; None where the node says that none named means none."""
    found = node.ints(1) if node.has(1) else node.attr("axes")
    if found:
        return tuple(found)
    if node.attr("noop_with_empty_axes", 0):
        return None
    return tuple(range(node.rank(0)))


@rule("GlobalAveragePool", "GlobalMaxPool")
def global_pool(node: NodeConversion) -> fx.Node:
    """``x (N, C, *space)`` over space."""
    axes = tuple(range(2, node.rank(0)))
    return node.call(torch.mean if node.op == "GlobalAveragePool" else torch.amax, node.tensor(0), axes, True)


@rule("GlobalLpPool")
def global_lp_pool(node: NodeConversion) -> fx.Node:
    """``x (N, C, *space)`` over space."""
    axes = tuple(range(2, node.rank(0)))
    return node.call(torch.linalg.vector_norm, node.tensor(0), node.attr("p", 2), axes, True)


@rule("Softmax", "LogSoftmax", since=13)
def softmax(node: NodeConversion) -> fx.Node:
    """Along one axis."""
    function = torch.softmax if node.op == "Softmax" else torch.log_softmax
    return node.call(function, node.tensor(0), node.attr("axis", -1))


@rule("Softmax", "LogSoftmax", until=12)
def old_softmax(node: NodeConversion) -> fx.Node:
    """Over everything from ``axis`` on."""
    return node.call(arrays.softmax_2d, node.tensor(0), node.attr("axis", 1), node.op == "LogSoftmax")


@rule("Hardmax")
def hardmax(node: NodeConversion) -> fx.Node:
    """Refused: it has no gradient."""
    node.refuse("it has no gradient", "replace it by a Softmax")


@rule("ArgMax", "ArgMin")
def arg_extreme(node: NodeConversion) -> fx.Node:
    """Where the largest, or smallest, element is."""
    is_last = bool(node.attr("select_last_index", 0))
    is_kept, is_max = bool(node.attr("keepdims", 1)), node.op == "ArgMax"
    return node.call(arrays.arg_extreme, node.tensor(0), node.attr("axis", 0), is_kept, is_last, is_max)


@rule("CumSum")
def cumulative_sum(node: NodeConversion) -> fx.Node:
    """The running sum along one axis."""
    (axis,) = node.ints(1)
    is_exclusive, is_reversed = bool(node.attr("exclusive", 0)), bool(node.attr("reverse", 0))
    return node.call(arrays.cumulative_sum, node.tensor(0), axis, is_exclusive, is_reversed)
