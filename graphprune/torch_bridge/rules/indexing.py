"""Elements picked, placed and made by index."""

from __future__ import annotations

import torch
from torch import fx, nn

from graphprune.torch_bridge.dtypes import to_tensor, torch_dtype
from graphprune.torch_bridge.functions import arrays, picking
from graphprune.torch_bridge.rules import Site, rule
from graphprune.torch_bridge.values import Value


@rule("Gather")
def gather(site: Site) -> fx.Node:
    """Rows of a constant table by computed indices are an embedding."""
    axis = site.attr("axis", 0)
    if site.is_weight(0, 2) and axis == 0 and site.array(1) is None and not site.is_numbers(1):
        return _embedding(site)
    index = site.array(1)
    if index is not None and not index.ndim:
        return site.call(torch.select, site.tensor(0), axis, int(index))
    if not site.is_constant(1) and site.is_numbers(1) and site.rank(1) == 0:
        return site.call(torch.select, site.tensor(0), axis, site.operand(1))
    return site.call(picking.gather, site.tensor(0), site.tensor(1), axis)


def _embedding(site: Site) -> fx.Node:
    constant = site.node.inputs[0]
    if not site.builder.is_table(constant):
        return site.call(picking.gather, site.tensor(0), site.tensor(1), 0)
    count, width = site.dims(0)
    (weight,) = site.builder.weight(constant)
    site.builder.tables[constant.name, "same"] = (count, width)

    def make() -> nn.Module:
        return nn.Embedding(count, width, _weight=weight.detach())  # _weight: spares drawing random numbers

    # a table that a dense layer shares bears that layer's name; the node knows better where it belongs
    return site.layer(make, [site.tensor(1)], {"weight": 0}, path=site.builder.layer_path(site.node.name))


@rule("GatherElements")
def gather_elements(site: Site) -> fx.Node:
    """One element for each entry of the index."""
    return site.call(picking.gather_elements, site.tensor(0), site.tensor(1), site.attr("axis", 0))


@rule("GatherND")
def gather_nd(site: Site) -> fx.Node:
    """By coordinates."""
    return site.call(picking.gather_nd, site.tensor(0), site.tensor(1), site.attr("batch_dims", 0))


@rule("ScatterElements")
def scatter_elements(site: Site) -> fx.Node:
    """One element placed for each entry of the index."""
    how = site.attr("reduction", "none")
    return site.call(picking.scatter_elements, *site.tensors(), site.attr("axis", 0), how)


@rule("ScatterND")
def scatter_nd(site: Site) -> fx.Node:
    """Slices placed by coordinates."""
    return site.call(picking.scatter_nd, *site.tensors(), site.attr("reduction", "none"))


@rule("OneHot")
def one_hot(site: Site) -> fx.Node:
    """The depth is a size."""
    (depth,) = site.listed(1)
    return site.call(arrays.one_hot, site.tensor(0), depth, site.tensor(2), site.attr("axis", -1))


@rule("NonZero")
def non_zero(site: Site) -> fx.Node:
    """Coordinates of what is not zero."""
    return site.call(picking.non_zero, site.tensor(0))


@rule("Compress")
def compress(site: Site) -> fx.Node:
    """The places where a condition holds."""
    return site.call(picking.compress, site.tensor(0), site.tensor(1), site.attr("axis"))


@rule("Range")
def range_(site: Site) -> fx.Node:
    """From sizes; the type is that of the first number."""
    start, stop, step = (site.numbers(index).item() for index in range(3))
    dtype = site.dtype(0) or torch.int64
    return site.call(torch.arange, start, stop, step, dtype=dtype, device=site.builder.device())


@rule("ConstantOfShape")
def constant_of_shape(site: Site) -> fx.Node:
    """One number, as often as the sizes say."""
    value = site.attr("value")
    filling = to_tensor(value.values).reshape(-1) if value is not None else torch.zeros(1)
    sizes = tuple(site.listed(0))
    return site.call(torch.full, sizes, filling.item(), dtype=filling.dtype, device=site.builder.device())


@rule("EyeLike")
def eye_like(site: Site) -> fx.Node:
    """A diagonal of ones."""
    kind = site.attr("dtype")
    dtype = torch_dtype(kind, f"node '{site.node.name}'") if kind else site.dtype(0)
    return site.call(picking.eye_like, site.tensor(0), dtype, site.attr("k", 0))


@rule("Trilu")
def trilu(site: Site) -> fx.Node:
    """A triangle; the rest is zero."""
    diagonal = site.listed(1)[0] if site.has(1) else 0
    return site.call(torch.triu if site.attr("upper", 1) else torch.tril, site.tensor(0), diagonal)


@rule("TopK", since=10)
def top_k(site: Site) -> list[Value]:
    """The largest or smallest elements, and where they are."""
    (count,) = site.listed(1)
    found = site.call(
        torch.topk,
        site.tensor(0),
        count,
        site.attr("axis", -1),
        bool(site.attr("largest", 1)),
        bool(site.attr("sorted", 1)),
    )
    return [site.call(getattr, found, "values"), site.call(getattr, found, "indices")]


@rule("Shape", "Size")
def shape(site: Site) -> fx.Node:
    """Of a tensor whose rank is not known."""
    found = site.call(picking.shape_of, site.tensor(0))
    if site.node.op == "Size":
        return site.call(torch.prod, found)
    start, end = site.attr("start", 0), site.attr("end")
    return site.call(picking.cut, found, start, end)
