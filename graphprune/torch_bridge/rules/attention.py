"""Attention as one operator, of the standard and of ONNX Runtime, and rotary positions."""

from __future__ import annotations

import operator

from torch import fx

from graphprune.torch_bridge.functions import attention as functions
from graphprune.torch_bridge.rules import CONTRIB, NodeConversion, rule
from graphprune.torch_bridge.values import Value

_PARTS = 3  # mixed values, keys, values


@rule("Attention", since=23)
def attention(node: NodeConversion) -> list[Value]:
    """Queries, keys and values as ``(N, heads, S, D)`` or ``(N, S, heads * D)``, a mask, and a past."""
    if node.has(6):
        node.refuse("it is told how many keys are no padding")
    if node.attr("qk_matmul_output_mode", 0) or node.is_read(3):
        node.refuse("its scores are read by other nodes")
    found = node.call(
        functions.attention,
        *(node.tensor(operand) for operand in range(3)),
        _given(node, 3),
        _pair(node, 4, 5),
        heads=node.attr("q_num_heads", 0),
        kv_heads=node.attr("kv_num_heads", 0),
        scale=node.attr("scale"),
        softcap=node.attr("softcap", 0.0),
        is_causal=bool(node.attr("is_causal", 0)),
    )
    return _taken_apart(node, found)


@rule("GroupQueryAttention", domain=CONTRIB)
def group_query_attention(node: NodeConversion) -> list[Value]:
    """Causal, with rotary positions inside; what it needs to know of the mask is where each sample ends."""
    if any(map(node.has, range(12, len(node.inputs)))):
        node.refuse("its cache is quantised", "export the model with a cache of floats")
    if node.is_read(3):
        node.refuse("its scores are read by other nodes")
    if node.has(9):
        node.refuse("it is given positions, which ONNX Runtime on a CPU does not look at")
    sink = _given(node, 11)
    if sink is None and node.attr("smooth_softmax", 0):
        node.refuse("its softmax is smoothed")
    found = node.call(
        functions.group_query_attention,
        node.tensor(0),
        _given(node, 1),
        _given(node, 2),
        _pair(node, 3, 4),
        node.tensor(5),
        (_table(node, 7), _table(node, 8)) if node.attr("do_rotary", 0) else None,
        _given(node, 10),
        sink,
        heads=node.attr("num_heads"),
        kv_heads=node.attr("kv_num_heads"),
        scale=node.attr("scale", 0.0) or None,
        interleaved=bool(node.attr("rotary_interleaved", 0)),
        window=max(0, node.attr("local_window_size", -1)),
        softcap=node.attr("softcap", 0.0),
    )
    return _taken_apart(node, found)


@rule("MultiHeadAttention", domain=CONTRIB)
def multi_head_attention(node: NodeConversion) -> list[Value]:
    """Each head with keys of its own, which come in apart, ``(N, S, heads * D)``; a past is put in front of them."""
    if not (node.has(1) and node.has(2)):
        node.refuse("its queries, keys and values are packed in one tensor")
    if node.has(4) or any(map(node.has, range(8, len(node.inputs)))):
        node.refuse("it has a mask of padding, or a cache of the caller's")
    heads = node.attr("num_heads")
    query, key, value = (node.tensor(operand) for operand in range(3))
    if node.has(3):
        if node.rank(1) != 3:
            node.refuse("it has a bias beside a cache of the caller's")
        bias = node.tensor(3)
        query, key, value = (
            node.call(functions.plus_part, each, bias, part) for part, each in enumerate((query, key, value))
        )
    found = node.call(
        functions.attention,
        query,
        key,
        value,
        _given(node, 5),
        _pair(node, 6, 7),
        heads=heads,
        kv_heads=heads,
        scale=node.attr("scale", 0.0) or None,
        softcap=0.0,
        is_causal=bool(node.attr("unidirectional", 0)),
    )
    return _taken_apart(node, found)


@rule("RotaryEmbedding", since=23)
def rotary(node: NodeConversion) -> fx.Node:
    """Pairs of a head's entries turned by tables, or by angles for each token."""
    return _rotary(node, positions=3, tables=(1, 2))


@rule("RotaryEmbedding", domain=CONTRIB)
def contrib_rotary(node: NodeConversion) -> fx.Node:
    """ONNX Runtime's form: positions come before the tables."""
    if node.attr("is_packed_batching", 0):
        node.refuse("its samples are packed in one")
    return _rotary(node, positions=1, tables=(2, 3))


def _rotary(node: NodeConversion, positions: int, tables: tuple[int, int]) -> fx.Node:
    heads = node.attr("num_heads", 0)
    if not heads and node.rank(0) == 3 and node.attr("rotary_embedding_dim", 0):
        node.refuse("it does not say how many heads it turns a part of")
    return node.call(
        functions.rotary,
        node.tensor(0),
        *(_table(node, operand) for operand in tables),
        _given(node, positions),
        heads=heads,
        interleaved=bool(node.attr("interleaved", 0)),
    )


def _given(node: NodeConversion, operand: int) -> fx.Node | None:
    return node.tensor(operand) if node.has(operand) else None


def _pair(node: NodeConversion, one: int, other: int) -> tuple[fx.Node, fx.Node] | None:
    return (node.tensor(one), node.tensor(other)) if node.has(one) and node.has(other) else None


def _table(node: NodeConversion, operand: int) -> fx.Node:
    """Cosines or sines, which are not trained, whatever their name."""
    return node.conversion.buffer(node.inputs[operand]) if node.is_constant(operand) else node.tensor(operand)


def _taken_apart(node: NodeConversion, found: fx.Node) -> list[Value]:
    return [node.call(operator.getitem, found, index) for index in range(min(_PARTS, len(node.outputs)))]
