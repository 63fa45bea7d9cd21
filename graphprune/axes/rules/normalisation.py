"""Normalisation layers: per-channel parameters go with the channel, what the statistics run over is frozen."""

from __future__ import annotations

from graphprune.axes.algebra import ONE, Axes, Product, fresh, size_of
from graphprune.axes.rules import CONTRIB, NodeTyping, require, rule
from graphprune.axes.rules.elementwise import broadcast


@rule("BatchNormalization")
def batch_norm(node: NodeTyping) -> list[Axes] | None:
    """Statistics are constants at inference, so channels are independent."""
    x = require(node.axes(0))
    if node.attr("training_mode", 0) or len(x) < 2:
        return None
    for operand in range(1, 5):
        node.unify(x[1], require(node.axes(operand))[0])
    return [x]


@rule("InstanceNormalization")
def instance_norm(node: NodeTyping) -> list[Axes] | None:
    """Statistics run over space, channel by channel."""
    x = require(node.axes(0))
    for operand in (1, 2):
        node.unify(x[1], require(node.axes(operand))[0])
    node.freeze_all(x[2:], "InstanceNormalization runs over it")
    return [x]


@rule("GroupNormalization")
def group_norm(node: NodeTyping) -> list[Axes] | None:
    """Whole groups may go; within a group the statistics depend on every channel."""
    x = require(node.axes(0))
    groups = node.attr("num_groups")
    group = fresh(groups)
    inner = node.frozen(size_of(x[1]) // groups, "GroupNormalization runs over it")
    node.unify(x[1], Product((group, inner)))
    for operand in (1, 2):
        scale = require(node.axes(operand))[0]
        node.unify(scale, x[1] if size_of(scale) == size_of(x[1]) else group)
    node.freeze_all(x[2:], "GroupNormalization runs over it")
    node.size(group, attribute="num_groups")
    return [x]


@rule("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization")
def layer_norm(node: NodeTyping) -> list[Axes] | None:
    """Everything from ``axis`` on is frozen; the side outputs keep the axes before it."""
    x = require(node.axes(0))
    axis = node.attr("axis", -1) % len(x)
    node.freeze_all(x[axis:], f"{node.op} runs over it")
    for operand in (1, 2):
        if node.has(operand):
            broadcast(node, [x, require(node.axes(operand))])
    side: Axes = (*x[:axis], *(ONE for _ in x[axis:]))
    return [x, side, side]


@rule("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", domain=CONTRIB)
def skip_layer_norm(node: NodeTyping) -> list[Axes] | None:
    """``norm(input + skip + bias)``; the fourth output is the sum."""
    operands = [require(node.axes(i)) for i in range(len(node.inputs)) if node.has(i)]
    total = broadcast(node, operands)
    node.freeze(total[-1], f"{node.op} runs over it")
    side: Axes = (*total[:-1], ONE)
    return [total, side, side, total]


@rule("MeanVarianceNormalization")
def mean_variance_norm(node: NodeTyping) -> list[Axes] | None:
    """The axes of its attribute are frozen."""
    x = require(node.axes(0))
    node.freeze_all([x[axis] for axis in node.attr("axes", [0, 2, 3])], "MeanVarianceNormalization runs over it")
    return [x]


@rule("EmbedLayerNormalization", domain=CONTRIB)
def embed_layer_norm(node: NodeTyping) -> list[Axes] | None:
    """``norm(words[ids] + positions + segments[kinds])``: the tables' rows are picked, their width is normalised."""
    ids = require(node.axes(0))
    width = require(node.axes(2))[1]
    for operand in (2, 3, 4):
        if node.has(operand):
            table = require(node.axes(operand))
            node.freeze(table[0], "EmbedLayerNormalization picks from it by index")
            node.unify(table[1], width)
    for operand in (5, 6):
        if node.has(operand):
            node.unify(require(node.axes(operand))[0], width)
    node.freeze(width, "EmbedLayerNormalization runs over it")
    return [(*ids, width), ids[:1], (*ids, width)]
