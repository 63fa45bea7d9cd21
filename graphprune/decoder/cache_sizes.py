"""Sizes of a cache that the file leaves free and the attention operators that read it tell: head dims, heads.

The builder of onnxruntime-genai writes the head size of every past as the symbol ``kv_cache_dim``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from graphprune.decoder.interface import CacheTensor, decoder_interface
from graphprune.ir.model import Model, constant_dims


@dataclass(frozen=True)
class _Operator:
    """Where an operator takes queries, keys and values [N, S, heads * depth], and which attributes count heads."""

    query: int
    key: int
    value: int
    past_key: int
    past_value: int
    query_heads: str
    kv_heads: str
    may_pack: bool = False  # queries, keys and values one after the other in the first input


_OPERATORS = {
    "GroupQueryAttention": _Operator(0, 1, 2, 3, 4, "num_heads", "kv_num_heads", may_pack=True),
    "MultiHeadAttention": _Operator(0, 1, 2, 6, 7, "num_heads", "num_heads"),
    "Attention": _Operator(0, 1, 2, 4, 5, "q_num_heads", "kv_num_heads"),  # of the default domain
}


def cache_sizes(model: Model) -> dict[str, int]:
    """Symbol -> size, for the free axes of the cache other than samples and positions; what nothing tells is left out.

    A symbol for which two operators tell different sizes is left out, too.
    """
    return dict(model.derived(_cache_sizes))


def _cache_sizes(model: Model) -> dict[str, int]:
    interface = decoder_interface(model)
    told: dict[str, set[int]] = {}
    for tensor in interface.cache if interface is not None else ():
        for symbol, size in _told(model, tensor):
            told.setdefault(symbol, set()).add(size)
    return {symbol: sizes.pop() for symbol, sizes in told.items() if len(sizes) == 1}


def _told(model: Model, tensor: CacheTensor) -> Iterator[tuple[str, int]]:
    """Symbols of [batch, kv heads, positions, head dim] and what the readers of this past say they are."""
    if len(tensor.dims) != 4 or tensor.position_axis != 2:
        return
    heads, depth = tensor.dims[1], tensor.dims[3]
    for node in model.graph.nodes:
        reads = [index for index, read in enumerate(node.inputs) if read.name == tensor.past]
        operator = _OPERATORS.get(node.op)
        if operator is None or not reads or (node.op == "Attention" and node.domain not in (None, "", "ai.onnx")):
            continue
        count = node.attrs.get(operator.kv_heads)
        if isinstance(heads, str) and count is not None:
            yield heads, int(count)
        size = _depth(model, node, operator, is_value=operator.past_value in reads)
        if isinstance(depth, str) and size is not None:
            yield depth, size


def _depth(model: Model, node: gs.Node, operator: _Operator, *, is_value: bool) -> int | None:
    """Size of a head of the keys or values; None where widths are not known or are no multiple of the heads."""
    query_heads, kv_heads = (node.attrs.get(name) for name in (operator.query_heads, operator.kv_heads))
    own = _width(model, node, operator.value if is_value else operator.key)
    if own is not None:
        return _share(own, kv_heads)
    width = _width(model, node, operator.query)
    if operator.may_pack and query_heads is not None and kv_heads is not None and not _is_given(node, operator.key):
        return _share(width, query_heads + 2 * kv_heads)
    return None if is_value else _share(width, query_heads)


def _share(width: int | None, heads: int | None) -> int | None:
    return width // heads if width is not None and heads and width % heads == 0 else None


def _is_given(node: gs.Node, index: int) -> bool:
    return index < len(node.inputs) and bool(node.inputs[index].name)


def _width(model: Model, node: gs.Node, index: int) -> int | None:
    """The last size of an input with three axes; where no shape is known, that of the weights it is made with."""
    if not _is_given(node, index):
        return None
    tensor = node.inputs[index]
    dims = model.shapes.get(tensor.name)
    if dims is not None:
        return dims[-1] if len(dims) == 3 and isinstance(dims[-1], int) else None
    for maker in tensor.inputs:
        if maker.op == "MatMul" and isinstance(maker.inputs[1], gs.Constant):
            return constant_dims(maker.inputs[1])[-1]
        if maker.op == "MatMulNBits":
            return int(maker.attrs["N"])
        if maker.op == "Add" and any(isinstance(each, gs.Constant) for each in maker.inputs):  # a bias
            return next(constant_dims(each)[-1] for each in maker.inputs if isinstance(each, gs.Constant))
    return None
