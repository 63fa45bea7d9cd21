"""Fused attention: heads may go whole, key-value groups with all their query heads."""

from __future__ import annotations

from graphprune.axes.algebra import Axes, Axis, Concat, Product, fresh, size_of
from graphprune.axes.rules import CONTRIB, NodeTyping, require, rule


@rule("Attention")
def attention(node: NodeTyping) -> list[Axes] | None:
    """ai.onnx Attention (opset 23): 4-D ``(N, heads, S, D)`` or 3-D ``(N, S, heads * D)`` operands."""
    query, key, value = (require(node.axes(i)) for i in range(3))
    if len(query) == 4:
        kv, repeats, depth, depth_v = key[1], fresh(size_of(query[1]) // size_of(key[1])), query[3], value[3]
        node.unify(query[1], Product((kv, repeats)))
        node.unify(value[1], kv)
        node.unify(key[3], depth)
        length, key_length = query[2], key[2]
        written: Axes = (query[0], query[1], length, depth_v)
    else:
        heads, kv_heads = node.attr("q_num_heads"), node.attr("kv_num_heads")
        kv, repeats = fresh(kv_heads), fresh(heads // kv_heads)
        depth, depth_v = fresh(size_of(query[2]) // heads), fresh(size_of(value[2]) // kv_heads)
        node.unify(query[2], Product((kv, repeats, depth)))
        node.unify(key[2], Product((kv, depth)))
        node.unify(value[2], Product((kv, depth_v)))
        node.size(Product((kv, repeats)), attribute="q_num_heads")
        node.size(kv, attribute="kv_num_heads")
        length, key_length = query[1], key[1]
        written = (query[0], length, Product((kv, repeats, depth_v)))
    _scores(node, depth, has_scale=node.attr("scale") is not None, axis=3 if len(query) == 4 else 2)
    node.unify(key[0], query[0])
    node.unify(value[0], query[0])
    node.unify(value[2 if len(query) == 4 else 1], key_length)
    node.freeze_all((length, key_length), "Attention runs over it")
    if node.has(3):
        mask = require(node.axes(3))
        heads_axis: Axis = Product((kv, repeats))
        for axis, own in zip(reversed(mask), (key_length, length, heads_axis, query[0]), strict=False):
            if size_of(axis) > 1:
                node.unify(axis, own) if size_of(axis) == size_of(own) else node.freeze(axis, "it masks a part")
    for operand, inner in ((4, depth), (5, depth_v)):
        if node.has(operand):
            past = require(node.axes(operand))
            node.unify(past[0], query[0])
            node.unify(past[1], kv)
            node.unify(past[3], inner)
            node.freeze(past[2], "Attention runs over it")
    presents = _presents(node, query[0], kv, depth, depth_v)
    if not node.is_read(3):
        return [written, *presents]
    lengths = [node.frozen(size, "Attention runs over it") for size in require(node.out_shape(3))[2:]]
    return [written, *presents, (query[0], Product((kv, repeats)), *lengths)]


def _scores(node: NodeTyping, depth: Axis, *, has_scale: bool, axis: int) -> None:
    """Queries times keys; the default scale counts the depth of a head."""
    if has_scale:
        node.contract(0, axis)
    else:
        node.freeze(depth, "Attention divides by the root of its size")


def _presents(node: NodeTyping, batch: Axis, kv: Axis, depth: Axis, depth_v: Axis) -> list[Axes]:
    """Keys and values handed on for the next step; nothing is said of what nobody reads."""
    written: list[Axes] = []
    for index, inner in ((1, depth), (2, depth_v)):
        shape = node.out_shape(index) if index < len(node.outputs) else None
        length = require(shape)[2] if shape or node.is_read(index) else 0
        written.append((batch, kv, node.frozen(length, f"{node.op} runs over it"), inner))
    return written


@rule("RotaryEmbedding")
def rotary(node: NodeTyping) -> list[Axes] | None:
    """Heads pass through; pairs of a head's entries are turned by tables, so its depth stays."""
    return _rotary(node, tables=(1, 2))


@rule("RotaryEmbedding", domain=CONTRIB)
def contrib_rotary(node: NodeTyping) -> list[Axes] | None:
    """ONNX Runtime's form: positions come before the tables."""
    return _rotary(node, tables=(2, 3))


def _rotary(node: NodeTyping, tables: tuple[int, int]) -> list[Axes] | None:
    x = require(node.axes(0))
    reason = "RotaryEmbedding turns pairs of it"
    for operand in tables:
        node.freeze_all(require(node.axes(operand)), reason)
    if len(x) == 4:
        node.freeze(x[3], reason)
        node.freeze(x[2], reason)
        return [x]
    heads = node.attr("num_heads", 0)
    if not heads:
        return None
    head = fresh(heads)
    node.unify(x[2], Product((head, node.frozen(size_of(x[2]) // heads, reason))))
    node.size(head, attribute="num_heads")
    node.freeze(x[1], reason)
    return [x]


@rule("Attention", domain=CONTRIB)
def packed_attention(node: NodeTyping) -> list[Axes] | None:
    """``x (N, S, width)``, ``w (width, q|k|v)``: ONNX Runtime's fused projection and attention."""
    x, w = require(node.axes(0)), require(node.axes(1))
    heads = node.attr("num_heads")
    if node.has(4):  # a past means a cache whose layout is the caller's
        return None
    sizes = node.attr("qkv_hidden_sizes") or [size_of(w[1]) // 3] * 3
    if sizes[0] != sizes[1] or sizes[0] % heads or sizes[2] % heads:
        return None
    reason = "the fused Attention holds the depth of a head"
    head = fresh(heads)
    depth, depth_v = node.frozen(sizes[0] // heads, reason), node.frozen(sizes[2] // heads, reason)
    parts = [Product((head, depth)), Product((head, depth)), Product((head, depth_v))]
    node.unify(x[2], w[0])
    node.contract(0, 2)
    node.unify(w[1], Concat(tuple(parts)))
    if node.has(2):
        node.unify(require(node.axes(2))[0], w[1])
    node.size(head, attribute="num_heads")
    if node.attr("qkv_hidden_sizes"):
        for element, part in enumerate(parts):
            node.size(part, attribute="qkv_hidden_sizes", element=element)
    node.freeze(x[1], "Attention runs over it")
    _freeze_rest(node, 3, head)
    return [(x[0], x[1], Product((head, depth_v)))]


@rule("MultiHeadAttention", domain=CONTRIB)
def multi_head_attention(node: NodeTyping) -> list[Axes] | None:
    """Separate ``(N, S, heads * D)`` queries, keys and values; packed forms are not understood."""
    operands = [node.axes(i) for i in range(3)]
    if any(axes is None or len(axes) != 3 for axes in operands):
        return None
    return _grouped(node, [require(axes) for axes in operands], node.attr("num_heads"), node.attr("num_heads"))


@rule("GroupQueryAttention", domain=CONTRIB)
def group_query_attention(node: NodeTyping) -> list[Axes] | None:
    """As above, with fewer key-value heads."""
    operands = [node.axes(i) for i in range(3)]
    if any(axes is None or len(axes) != 3 for axes in operands):
        return None
    return _grouped(node, [require(axes) for axes in operands], node.attr("num_heads"), node.attr("kv_num_heads"))


def _grouped(node: NodeTyping, operands: list[Axes], heads: int, kv_heads: int) -> list[Axes]:
    query, _, value = operands
    reason = f"{node.op} holds the depth of a head"
    kv, repeats = fresh(kv_heads), fresh(heads // kv_heads)
    depth = node.frozen(size_of(query[2]) // heads, reason)
    depth_v = node.frozen(size_of(value[2]) // kv_heads, reason)
    parts = [Product((kv, repeats, depth)), Product((kv, depth)), Product((kv, depth_v))]
    for axes, part in zip(operands, parts, strict=True):
        node.unify(axes[2], part)
        node.unify(axes[0], query[0])
        node.freeze(axes[1], f"{node.op} runs over it")
    node.size(Product((kv, repeats)), attribute="num_heads")
    if node.op == "GroupQueryAttention":
        node.size(kv, attribute="kv_num_heads")
        for operand in range(3, len(node.inputs)):
            _freeze_rest(node, operand, kv)
            if operand in (3, 4) and node.has(operand):
                node.unify(require(node.axes(operand))[1], kv)
    else:
        if node.has(3):
            node.unify(require(node.axes(3))[0], Concat(tuple(parts)))
        _freeze_rest(node, 4, kv)
    return [(query[0], query[1], Product((kv, repeats, depth_v))), *_presents(node, query[0], kv, depth, depth_v)]


def _freeze_rest(node: NodeTyping, since: int, heads: Axis) -> None:
    """Masks, lengths and tables keep their extent; one that tells heads apart keeps the heads."""
    for operand in range(since, len(node.inputs)):
        for axis in (node.axes(operand) or ()) if node.has(operand) else ():
            if size_of(axis) == size_of(heads) > 1:
                node.freeze(heads, f"{node.op} is told the heads apart")
            node.freeze(axis, f"it is given to {node.op}")
