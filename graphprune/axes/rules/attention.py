"""Attention of the standard: heads may go whole, key-value groups with all their query heads."""

from __future__ import annotations

from graphprune.axes.algebra import Axes, Axis, Product, fresh, size_of
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
    presents = presents_of(node, query[0], kv, depth, depth_v)
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


def presents_of(node: NodeTyping, batch: Axis, kv: Axis, depth: Axis, depth_v: Axis) -> list[Axes]:
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
