"""Reductions, softmax, running sums and searches along axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import fx

from graphprune.torch_bridge.functions import arrays
from graphprune.torch_bridge.rules import Site, rule

_SIMPLE: Mapping[str, Callable[..., Any]] = {
    "ReduceMean": torch.mean,
    "ReduceSum": torch.sum,
    "ReduceMax": torch.amax,
    "ReduceMin": torch.amin,
    "ReduceLogSumExp": torch.logsumexp,
    "ReduceProd": arrays.reduce_product,
}


@rule(*_SIMPLE)
def simple(site: Site) -> fx.Node:
    """Over the axes named, or all."""
    axes = _axes(site)
    if axes is None:
        return site.tensor(0)
    return site.call(_SIMPLE[site.node.op], site.tensor(0), axes, bool(site.attr("keepdims", 1)))


@rule("ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum")
def composed(site: Site) -> fx.Node:
    """Sums of something."""
    axes, is_kept, x = _axes(site), bool(site.attr("keepdims", 1)), site.tensor(0)
    if site.node.op == "ReduceL1":
        return site.call(torch.sum, site.call(torch.abs, x), axes or (), is_kept)
    if site.node.op == "ReduceL2":
        return site.call(torch.linalg.vector_norm, x, 2, axes or (), is_kept)
    if site.node.op == "ReduceSumSquare":
        return site.call(torch.sum, site.call(torch.square, x), axes or (), is_kept)
    return site.call(torch.log, site.call(torch.sum, x, axes or (), is_kept))


def _axes(site: Site) -> tuple[int, ...] | None:
    """The axes to reduce; None where the node says that none named means none."""
    found = site.ints(1) if site.has(1) else site.attr("axes")
    if found:
        return tuple(found)
    if site.attr("noop_with_empty_axes", 0):
        return None
    return tuple(range(site.rank(0)))


@rule("GlobalAveragePool", "GlobalMaxPool")
def global_pool(site: Site) -> fx.Node:
    """``x (N, C, *space)`` over space."""
    axes = tuple(range(2, site.rank(0)))
    return site.call(torch.mean if site.node.op == "GlobalAveragePool" else torch.amax, site.tensor(0), axes, True)


@rule("GlobalLpPool")
def global_lp_pool(site: Site) -> fx.Node:
    """``x (N, C, *space)`` over space."""
    axes = tuple(range(2, site.rank(0)))
    return site.call(torch.linalg.vector_norm, site.tensor(0), site.attr("p", 2), axes, True)


@rule("Softmax", "LogSoftmax", since=13)
def softmax(site: Site) -> fx.Node:
    """Along one axis."""
    function = torch.softmax if site.node.op == "Softmax" else torch.log_softmax
    return site.call(function, site.tensor(0), site.attr("axis", -1))


@rule("Softmax", "LogSoftmax", until=12)
def old_softmax(site: Site) -> fx.Node:
    """Over everything from ``axis`` on."""
    return site.call(arrays.softmax_2d, site.tensor(0), site.attr("axis", 1), site.node.op == "LogSoftmax")


@rule("Hardmax")
def hardmax(site: Site) -> fx.Node:
    """Refused: it has no gradient."""
    site.refuse("it has no gradient", "replace it by a Softmax")


@rule("ArgMax", "ArgMin")
def arg_extreme(site: Site) -> fx.Node:
    """Where the largest, or smallest, element is."""
    is_last = bool(site.attr("select_last_index", 0))
    is_kept, is_max = bool(site.attr("keepdims", 1)), site.node.op == "ArgMax"
    return site.call(arrays.arg_extreme, site.tensor(0), site.attr("axis", 0), is_kept, is_last, is_max)


@rule("CumSum")
def cumulative_sum(site: Site) -> fx.Node:
    """The running sum along one axis."""
    (axis,) = site.ints(1)
    is_exclusive, is_reversed = bool(site.attr("exclusive", 0)), bool(site.attr("reverse", 0))
    return site.call(arrays.cumulative_sum, site.tensor(0), axis, is_exclusive, is_reversed)
