"""Normalisation layers: per-channel parameters go with the channel, what the statistics run over is frozen."""

from __future__ import annotations

from graphprune.axes.algebra import ONE, Axes, Product, fresh, size_of
from graphprune.axes.rules import CONTRIB, Site, require, rule
from graphprune.axes.rules.elementwise import broadcast


@rule("BatchNormalization")
def batch_norm(site: Site) -> list[Axes] | None:
    """Statistics are constants at inference, so channels are independent."""
    x = require(site.axes(0))
    if site.attr("training_mode", 0) or len(x) < 2:
        return None
    for operand in range(1, 5):
        site.unify(x[1], require(site.axes(operand))[0])
    return [x]


@rule("InstanceNormalization")
def instance_norm(site: Site) -> list[Axes] | None:
    """Statistics run over space, channel by channel."""
    x = require(site.axes(0))
    for operand in (1, 2):
        site.unify(x[1], require(site.axes(operand))[0])
    site.freeze_all(x[2:], "InstanceNormalization runs over it")
    return [x]


@rule("GroupNormalization")
def group_norm(site: Site) -> list[Axes] | None:
    """Whole groups may go; within a group the statistics depend on every channel."""
    x = require(site.axes(0))
    groups = site.attr("num_groups")
    group = fresh(groups)
    inner = site.frozen(size_of(x[1]) // groups, "GroupNormalization runs over it")
    site.unify(x[1], Product((group, inner)))
    for operand in (1, 2):
        scale = require(site.axes(operand))[0]
        site.unify(scale, x[1] if size_of(scale) == size_of(x[1]) else group)
    site.freeze_all(x[2:], "GroupNormalization runs over it")
    site.size(group, attribute="num_groups")
    return [x]


@rule("LayerNormalization", "RMSNormalization")
def layer_norm(site: Site) -> list[Axes] | None:
    """Everything from ``axis`` on is frozen; the side outputs keep the axes before it."""
    x = require(site.axes(0))
    axis = site.attr("axis", -1) % len(x)
    site.freeze_all(x[axis:], f"{site.node.op} runs over it")
    for operand in (1, 2):
        if site.has(operand):
            broadcast(site, [x, require(site.axes(operand))])
    side: Axes = (*x[:axis], *(ONE for _ in x[axis:]))
    return [x, side, side]


@rule("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", domain=CONTRIB)
def skip_layer_norm(site: Site) -> list[Axes] | None:
    """``norm(input + skip + bias)``; the fourth output is the sum."""
    operands = [require(site.axes(i)) for i in range(len(site.node.inputs)) if site.has(i)]
    total = broadcast(site, operands)
    site.freeze(total[-1], f"{site.node.op} runs over it")
    side: Axes = (*total[:-1], ONE)
    return [total, side, side, total]


@rule("MeanVarianceNormalization")
def mean_variance_norm(site: Site) -> list[Axes] | None:
    """The axes of its attribute are frozen."""
    x = require(site.axes(0))
    site.freeze_all([x[axis] for axis in site.attr("axes", [0, 2, 3])], "MeanVarianceNormalization runs over it")
    return [x]


@rule("EmbedLayerNormalization", domain=CONTRIB)
def embed_layer_norm(site: Site) -> list[Axes] | None:
    """``norm(words[ids] + positions + segments[kinds])``: the tables' rows are picked, their width is normalised."""
    ids = require(site.axes(0))
    width = require(site.axes(2))[1]
    for operand in (2, 3, 4):
        if site.has(operand):
            table = require(site.axes(operand))
            site.freeze(table[0], "EmbedLayerNormalization picks from it by index")
            site.unify(table[1], width)
    for operand in (5, 6):
        if site.has(operand):
            site.unify(require(site.axes(operand))[0], width)
    site.freeze(width, "EmbedLayerNormalization runs over it")
    return [(*ids, width), ids[:1], (*ids, width)]
