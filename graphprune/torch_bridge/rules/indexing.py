"""Elements picked, placed and made by index."""

from __future__ import annotations

import torch
from torch import fx, nn

from graphprune.torch_bridge.dtypes import to_tensor, torch_dtype
from graphprune.torch_bridge.functions import arrays, picking
from graphprune.torch_bridge.rules import NodeConversion, rule
from graphprune.torch_bridge.values import Value


@rule("Gather")
def gather(node: NodeConversion) -> fx.Node:
    """Rows of a constant table by computed indices are an embedding."""
    axis = node.attr("axis", 0)
    if node.is_weight(0, 2) and axis == 0 and node.array(1) is None and not node.is_numbers(1):
        return _embedding(node)
    index = node.array(1)
    if index is not None and not index.ndim:
        return node.call(torch.select, node.tensor(0), axis, int(index))
    if not node.is_constant(1) and node.is_numbers(1) and node.rank(1) == 0:
        return node.call(torch.select, node.tensor(0), axis, node.operand(1))
    return node.call(picking.gather, node.tensor(0), node.tensor(1), axis)


def _embedding(node: NodeConversion) -> fx.Node:
    constant = node.inputs[0]
    if not node.conversion.parameters.is_table(constant):
        return node.call(picking.gather, node.tensor(0), node.tensor(1), 0)
    count, width = node.dims(0)
    (weight,) = node.conversion.parameters.of(constant)
    node.conversion.parameters.tables[constant.name, "same"] = (count, width)

    def make() -> nn.Module:
        return nn.Embedding(count, width, _weight=weight.detach())  # _weight: spares drawing random numbers

    # a table that a dense layer shares bears that layer's name; the node knows better where it belongs
    return node.layer(make, [node.tensor(1)], {"weight": 0}, path=node.conversion.source.layer_path(node.name))


@rule("GatherElements")
def gather_elements(node: NodeConversion) -> fx.Node:
    """One element for each entry of the index."""
    return node.call(picking.gather_elements, node.tensor(0), node.tensor(1), node.attr("axis", 0))


@rule("GatherND")
def gather_nd(node: NodeConversion) -> fx.Node:
    """By coordinates."""
    return node.call(picking.gather_nd, node.tensor(0), node.tensor(1), node.attr("batch_dims", 0))


@rule("ScatterElements")
def scatter_elements(node: NodeConversion) -> fx.Node:
    """One element placed for each entry of the index."""
    how = node.attr("reduction", "none")
    return node.call(picking.scatter_elements, *node.tensors(), node.attr("axis", 0), how)


@rule("ScatterND")
def scatter_nd(node: NodeConversion) -> fx.Node:
    """Slices placed by coordinates."""
    return node.call(picking.scatter_nd, *node.tensors(), node.attr("reduction", "none"))


@rule("OneHot")
def one_hot(node: NodeConversion) -> fx.Node:
    """The depth is a size."""
    (depth,) = node.listed(1)
    return node.call(arrays.one_hot, node.tensor(0), depth, node.tensor(2), node.attr("axis", -1))


@rule("NonZero")
def non_zero(node: NodeConversion) -> fx.Node:
    """Coordinates of what is not zero."""
    return node.call(picking.non_zero, node.tensor(0))


@rule("Compress")
def compress(node: NodeConversion) -> fx.Node:
    """The places where a condition holds."""
    return node.call(picking.compress, node.tensor(0), node.tensor(1), node.attr("axis"))


@rule("Range")
def range_(node: NodeConversion) -> fx.Node:
    """From sizes; the type is that of the first number."""
    start, stop, step = (node.numbers(index).item() for index in range(3))
    dtype = node.dtype(0) or torch.int64
    return node.call(torch.arange, start, stop, step, dtype=dtype, device=node.conversion.tensors.device())


@rule("ConstantOfShape")
def constant_of_shape(node: NodeConversion) -> fx.Node:
    """One number, as often as the sizes say."""
    value = node.attr("value")
    filling = to_tensor(value.values).reshape(-1) if value is not None else torch.zeros(1)
    sizes = tuple(node.listed(0))
    return node.call(torch.full, sizes, filling.item(), dtype=filling.dtype, device=node.conversion.tensors.device())


@rule("EyeLike")
def eye_like(node: NodeConversion) -> fx.Node:
    """A diagonal of ones."""
    kind = node.attr("dtype")
    dtype = torch_dtype(kind, f"node '{node.name}'") if kind else node.dtype(0)
    return node.call(picking.eye_like, node.tensor(0), dtype, node.attr("k", 0))


@rule("Trilu")
def trilu(node: NodeConversion) -> fx.Node:
    """A triangle; the rest is zero."""
    diagonal = node.listed(1)[0] if node.has(1) else 0
    return node.call(torch.triu if node.attr("upper", 1) else torch.tril, node.tensor(0), diagonal)


@rule("TopK", since=10)
def top_k(node: NodeConversion) -> list[Value]:
    """The largest or smallest elements, and where they are."""
    (count,) = node.listed(1)
    found = node.call(
        torch.topk,
        node.tensor(0),
        count,
        node.attr("axis", -1),
        bool(node.attr("largest", 1)),
        bool(node.attr("sorted", 1)),
    )
    return [node.call(getattr, found, "values"), node.call(getattr, found, "indices")]


@rule("Shape", "Size")
def shape(node: NodeConversion) -> fx.Node:
    """Of a tensor whose rank is not known."""
    found = node.call(picking.shape_of, node.tensor(0))
    if node.op == "Size":
        return node.call(torch.prod, found)
    start, end = node.attr("start", 0), node.attr("end")
    return node.call(picking.cut, found, start, end)
