"""Fused attention: heads may go whole, key-value groups with all their query heads."""

from __future__ import annotations

from graphprune.axes.algebra import Axes, Axis, Concat, Product, fresh, size_of
from graphprune.axes.rules import CONTRIB, Site, require, rule


@rule("Attention")
def attention(site: Site) -> list[Axes] | None:
    """ai.onnx Attention (opset 23): 4-D ``(N, heads, S, D)`` or 3-D ``(N, S, heads * D)`` operands."""
    query, key, value = (require(site.axes(i)) for i in range(3))
    if len(query) == 4:
        kv, repeats, depth, depth_v = key[1], fresh(size_of(query[1]) // size_of(key[1])), query[3], value[3]
        site.unify(query[1], Product((kv, repeats)))
        site.unify(value[1], kv)
        site.unify(key[3], depth)
        length, key_length = query[2], key[2]
        written: Axes = (query[0], query[1], length, depth_v)
    else:
        heads, kv_heads = site.attr("q_num_heads"), site.attr("kv_num_heads")
        kv, repeats = fresh(kv_heads), fresh(heads // kv_heads)
        depth, depth_v = fresh(size_of(query[2]) // heads), fresh(size_of(value[2]) // kv_heads)
        site.unify(query[2], Product((kv, repeats, depth)))
        site.unify(key[2], Product((kv, depth)))
        site.unify(value[2], Product((kv, depth_v)))
        site.size(Product((kv, repeats)), attribute="q_num_heads")
        site.size(kv, attribute="kv_num_heads")
        length, key_length = query[1], key[1]
        written = (query[0], length, Product((kv, repeats, depth_v)))
    _scores(site, depth, has_scale="scale" in site.node.attrs, axis=3 if len(query) == 4 else 2)
    site.unify(key[0], query[0])
    site.unify(value[0], query[0])
    site.unify(value[2 if len(query) == 4 else 1], key_length)
    site.freeze_all((length, key_length), "Attention runs over it")
    if site.has(3):
        mask = require(site.axes(3))
        heads_axis: Axis = Product((kv, repeats))
        for axis, own in zip(reversed(mask), (key_length, length, heads_axis, query[0]), strict=False):
            if size_of(axis) > 1:
                site.unify(axis, own) if size_of(axis) == size_of(own) else site.freeze(axis, "it masks a part")
    for operand, inner in ((4, depth), (5, depth_v)):
        if site.has(operand):
            past = require(site.axes(operand))
            site.unify(past[0], query[0])
            site.unify(past[1], kv)
            site.unify(past[3], inner)
            site.freeze(past[2], "Attention runs over it")
    presents = _presents(site, query[0], kv, depth, depth_v)
    if not site.is_read(3):
        return [written, *presents]
    lengths = [site.frozen(size, "Attention runs over it") for size in require(site.out_shape(3))[2:]]
    return [written, *presents, (query[0], Product((kv, repeats)), *lengths)]


def _scores(site: Site, depth: Axis, *, has_scale: bool, axis: int) -> None:
    """Queries times keys; the default scale counts the depth of a head."""
    if has_scale:
        site.contract(0, axis)
    else:
        site.freeze(depth, "Attention divides by the root of its size")


def _presents(site: Site, batch: Axis, kv: Axis, depth: Axis, depth_v: Axis) -> list[Axes]:
    """Keys and values handed on for the next step; nothing is said of what nobody reads."""
    written: list[Axes] = []
    for index, inner in ((1, depth), (2, depth_v)):
        shape = site.out_shape(index) if index < len(site.node.outputs) else None
        length = require(shape)[2] if shape or site.is_read(index) else 0
        written.append((batch, kv, site.frozen(length, f"{site.node.op} runs over it"), inner))
    return written


@rule("RotaryEmbedding")
def rotary(site: Site) -> list[Axes] | None:
    """Heads pass through; pairs of a head's entries are turned by tables, so its depth stays."""
    return _rotary(site, tables=(1, 2))


@rule("RotaryEmbedding", domain=CONTRIB)
def contrib_rotary(site: Site) -> list[Axes] | None:
    """ONNX Runtime's form: positions come before the tables."""
    return _rotary(site, tables=(2, 3))


def _rotary(site: Site, tables: tuple[int, int]) -> list[Axes] | None:
    x = require(site.axes(0))
    reason = "RotaryEmbedding turns pairs of it"
    for operand in tables:
        site.freeze_all(require(site.axes(operand)), reason)
    if len(x) == 4:
        site.freeze(x[3], reason)
        site.freeze(x[2], reason)
        return [x]
    heads = site.attr("num_heads", 0)
    if not heads:
        return None
    head = fresh(heads)
    site.unify(x[2], Product((head, site.frozen(size_of(x[2]) // heads, reason))))
    site.size(head, attribute="num_heads")
    site.freeze(x[1], reason)
    return [x]


@rule("Attention", domain=CONTRIB)
def packed_attention(site: Site) -> list[Axes] | None:
    """``x (N, S, width)``, ``w (width, q|k|v)``: ONNX Runtime's fused projection and attention."""
    x, w = require(site.axes(0)), require(site.axes(1))
    heads = site.attr("num_heads")
    if site.has(4):  # a past means a cache whose layout is the caller's
        return None
    sizes = site.attr("qkv_hidden_sizes") or [size_of(w[1]) // 3] * 3
    if sizes[0] != sizes[1] or sizes[0] % heads or sizes[2] % heads:
        return None
    reason = "the fused Attention holds the depth of a head"
    head = fresh(heads)
    depth, depth_v = site.frozen(sizes[0] // heads, reason), site.frozen(sizes[2] // heads, reason)
    parts = [Product((head, depth)), Product((head, depth)), Product((head, depth_v))]
    site.unify(x[2], w[0])
    site.contract(0, 2)
    site.unify(w[1], Concat(tuple(parts)))
    if site.has(2):
        site.unify(require(site.axes(2))[0], w[1])
    site.size(head, attribute="num_heads")
    if site.attr("qkv_hidden_sizes"):
        for element, part in enumerate(parts):
            site.size(part, attribute="qkv_hidden_sizes", element=element)
    site.freeze(x[1], "Attention runs over it")
    _freeze_rest(site, 3, head)
    return [(x[0], x[1], Product((head, depth_v)))]


@rule("MultiHeadAttention", domain=CONTRIB)
def multi_head_attention(site: Site) -> list[Axes] | None:
    """Separate ``(N, S, heads * D)`` queries, keys and values; packed forms are not understood."""
    operands = [site.axes(i) for i in range(3)]
    if any(axes is None or len(axes) != 3 for axes in operands):
        return None
    return _grouped(site, [require(axes) for axes in operands], site.attr("num_heads"), site.attr("num_heads"))


@rule("GroupQueryAttention", domain=CONTRIB)
def group_query_attention(site: Site) -> list[Axes] | None:
    """As above, with fewer key-value heads."""
    operands = [site.axes(i) for i in range(3)]
    if any(axes is None or len(axes) != 3 for axes in operands):
        return None
    return _grouped(site, [require(axes) for axes in operands], site.attr("num_heads"), site.attr("kv_num_heads"))


def _grouped(site: Site, operands: list[Axes], heads: int, kv_heads: int) -> list[Axes]:
    query, _, value = operands
    reason = f"{site.node.op} holds the depth of a head"
    kv, repeats = fresh(kv_heads), fresh(heads // kv_heads)
    depth = site.frozen(size_of(query[2]) // heads, reason)
    depth_v = site.frozen(size_of(value[2]) // kv_heads, reason)
    parts = [Product((kv, repeats, depth)), Product((kv, depth)), Product((kv, depth_v))]
    for axes, part in zip(operands, parts, strict=True):
        site.unify(axes[2], part)
        site.unify(axes[0], query[0])
        site.freeze(axes[1], f"{site.node.op} runs over it")
    site.size(Product((kv, repeats)), attribute="num_heads")
    if site.node.op == "GroupQueryAttention":
        site.size(kv, attribute="kv_num_heads")
        for operand in range(3, len(site.node.inputs)):
            _freeze_rest(site, operand, kv)
            if operand in (3, 4) and site.has(operand):
                site.unify(require(site.axes(operand))[1], kv)
    else:
        if site.has(3):
            site.unify(require(site.axes(3))[0], Concat(tuple(parts)))
        _freeze_rest(site, 4, kv)
    return [(query[0], query[1], Product((kv, repeats, depth_v))), *_presents(site, query[0], kv, depth, depth_v)]


def _freeze_rest(site: Site, since: int, heads: Axis) -> None:
    """Masks, lengths and tables keep their extent; one that tells heads apart keeps the heads."""
    for operand in range(since, len(site.node.inputs)):
        for axis in (site.axes(operand) or ()) if site.has(operand) else ():
            if size_of(axis) == size_of(heads) > 1:
                site.freeze(heads, f"{site.node.op} is told the heads apart")
            site.freeze(axis, f"it is given to {site.node.op}")
