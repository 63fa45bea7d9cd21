"""ONNX Runtime's fused attention: heads may go whole, key-value groups with their queries, the cache with them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from graphprune.axes.algebra import Axes, Axis, Concat, Product, fresh, size_of
from graphprune.axes.rules import CONTRIB, NodeTyping, require, rule
from graphprune.axes.rules.attention import presents_of


@dataclass(frozen=True)
class _Heads:
    """``kv`` groups of keys and values, ``repeats`` queries for each; ``depth`` of a query or key, and of a value."""

    kv: Axis
    repeats: Axis
    depth: Axis
    depth_v: Axis

    @classmethod
    def of(cls, node: NodeTyping, heads: int, kv_heads: int, depth: int, depth_v: int) -> _Heads:
        reason = f"{'the fused ' if node.op == 'Attention' else ''}{node.op} holds the depth of a head"
        return cls(fresh(kv_heads), fresh(heads // kv_heads), node.frozen(depth, reason), node.frozen(depth_v, reason))

    @property
    def all(self) -> Axis:
        return Product((self.kv, self.repeats))

    @property
    def parts(self) -> tuple[Axis, Axis, Axis]:
        """Queries, keys and values, a vector each."""
        queries = Product((self.kv, self.repeats, self.depth))
        return queries, Product((self.kv, self.depth)), Product((self.kv, self.depth_v))

    @property
    def mixed(self) -> Axis:
        """What comes out: a mix of values for each query."""
        return Product((self.kv, self.repeats, self.depth_v))


@rule("Attention", domain=CONTRIB)
def packed_attention(node: NodeTyping) -> list[Axes] | None:
    """``x (N, S, width)``, ``w (width, q|k|v)``: projection and attention; the past is ``(2, N, heads, P, depth)``."""
    x, w = require(node.axes(0)), require(node.axes(1))
    count = node.attr("num_heads")
    sizes = node.attr("qkv_hidden_sizes") or [size_of(w[1]) // 3] * 3
    if sizes[0] != sizes[1] or sizes[0] % count or sizes[2] % count:
        return None
    heads = _Heads.of(node, count, count, sizes[0] // count, sizes[2] // count)
    node.unify(x[2], w[0])
    node.contract(0, 2)
    node.unify(w[1], Concat(heads.parts))
    if node.has(2):
        node.unify(require(node.axes(2))[0], w[1])
    node.size(heads.kv, attribute="num_heads")
    if node.attr("qkv_hidden_sizes"):
        for element, part in enumerate(heads.parts):
            node.size(part, attribute="qkv_hidden_sizes", element=element)
    node.freeze(x[1], "Attention runs over it")
    _past(node, (4,), heads, heads_at=2)
    _bias(node, 5, heads)
    _keep(node, (3, 6), heads)
    written: Axes = (x[0], x[1], heads.mixed)
    if not node.is_read(1):
        return [written]
    length = node.frozen(require(node.out_shape(1))[3], "Attention runs over it")
    return [written, (node.frozen(2, "keys and values"), x[0], heads.kv, length, heads.depth)]


@rule("MultiHeadAttention", domain=CONTRIB)
def multi_head_attention(node: NodeTyping) -> list[Axes] | None:
    """``(N, S, heads * D)`` each, or keys and values as the caller's cache ``(N, heads, L, D)``; or packed:
    ``(N, S, heads, 3, D)``, ``(N, L, heads, 2, D)``.
    """
    query, count = require(node.axes(0)), node.attr("num_heads")
    operands = [node.axes(i) if node.has(i) else None for i in range(3)]
    ranks = tuple(0 if axes is None else len(axes) for axes in operands)
    depth = size_of(query[-1]) if ranks[0] == 5 else size_of(query[2]) // count
    depth_v = depth
    if ranks == (3, 3, 3):
        depth_v = size_of(require(operands[2])[2]) // count
    elif ranks == (3, 4, 4):
        depth_v = size_of(require(operands[2])[3])
    elif ranks not in ((5, 0, 0), (3, 5, 0)):
        return None
    heads = _Heads.of(node, count, count, depth, depth_v)
    for axes, part, inner in zip(operands, heads.parts, (heads.depth, heads.depth, heads.depth_v), strict=True):
        if axes is not None:
            _operand(node, axes, query[0], part, heads.kv, inner)
    node.size(heads.kv, attribute="num_heads")
    if node.has(3):
        node.unify(require(node.axes(3))[0], Concat(heads.parts))
    _bias(node, 5, heads)
    _past(node, (6, 7), heads, heads_at=1)
    _keep(node, (4, 8, 9), heads)
    return [(query[0], query[1], heads.mixed), *presents_of(node, query[0], heads.kv, heads.depth, heads.depth_v)]


def _operand(node: NodeTyping, axes: Axes, batch: Axis, part: Axis, head: Axis, depth: Axis) -> None:
    """Queries, keys or values in one of the layouts; positions keep their extent."""
    node.unify(axes[0], batch)
    node.freeze(axes[2 if len(axes) == 4 else 1], f"{node.op} runs over it")
    if len(axes) == 3:
        node.unify(axes[2], part)
        return
    node.unify(axes[1 if len(axes) == 4 else 2], head)
    node.unify(axes[-1], depth)
    if len(axes) == 5:
        node.freeze(axes[3], f"{node.op} finds queries, keys and values there")


@rule("GroupQueryAttention", domain=CONTRIB)
def group_query_attention(node: NodeTyping) -> list[Axes] | None:
    """``(N, S, heads * D)``, ``(N, S, groups * D)`` twice; or all three packed in the first."""
    query, count, groups = require(node.axes(0)), node.attr("num_heads"), node.attr("kv_num_heads")
    reason = f"{node.op} runs over it"
    if not node.has(1) and not node.has(2):
        depth = size_of(query[2]) // (count + 2 * groups)
        heads = _Heads.of(node, count, groups, depth, depth)
        node.unify(query[2], Concat(heads.parts))
        node.freeze(query[1], reason)
    else:
        key, value = require(node.axes(1)), require(node.axes(2))
        if {len(query), len(key), len(value)} != {3}:
            return None
        heads = _Heads.of(node, count, groups, size_of(query[2]) // count, size_of(value[2]) // groups)
        for axes, part in zip((query, key, value), heads.parts, strict=True):
            node.unify(axes[2], part)
            node.unify(axes[0], query[0])
            node.freeze(axes[1], reason)
    node.size(heads.all, attribute="num_heads")
    node.size(heads.kv, attribute="kv_num_heads")
    _past(node, (3, 4), heads, heads_at=1)
    _bias(node, 10, heads)
    if node.has(11):  # a sink for each head
        node.unify(require(node.axes(11))[0], heads.all)
    _keep(node, (5, 6, 7, 8, 9, 14, 15, 16))
    _keep(node, (12, 13), heads)
    return [(query[0], query[1], heads.mixed), *presents_of(node, query[0], heads.kv, heads.depth, heads.depth_v)]


def _past(node: NodeTyping, operands: tuple[int, ...], heads: _Heads, heads_at: int) -> None:
    """Keys and values of earlier steps; all but their heads keep their extent."""
    for operand in operands:
        for index, axis in enumerate(require(node.axes(operand)) if node.has(operand) else ()):
            if index == heads_at:
                node.unify(axis, heads.kv)
            else:
                node.freeze(axis, f"{node.op} runs over it")


def _bias(node: NodeTyping, operand: int, heads: _Heads) -> None:
    """What is added to the scores, ``(N or 1, heads or 1, S, T)``."""
    for index, axis in enumerate(require(node.axes(operand)) if node.has(operand) else ()):
        if index == 1 and size_of(axis) > 1:
            node.unify(axis, heads.all)
        else:
            node.freeze(axis, f"it is given to {node.op}")


def _keep(node: NodeTyping, operands: Iterable[int], heads: _Heads | None = None) -> None:
    """Masks, lengths and tables keep their extent; one that tells ``heads`` apart keeps the heads."""
    for operand in operands:
        for axis in (node.axes(operand) or ()) if node.has(operand) else ():
            if heads is not None and size_of(axis) in (size_of(heads.kv), size_of(heads.all)) and size_of(axis) > 1:
                node.freeze(heads.all, f"{node.op} is told the heads apart")
            node.freeze(axis, f"it is given to {node.op}")
