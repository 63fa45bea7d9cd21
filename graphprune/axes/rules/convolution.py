"""Convolutions in any number of dimensions: plain, grouped, depthwise, transposed."""

from __future__ import annotations

from graphprune.axes.algebra import Axes, Axis, Product, fresh, size_of
from graphprune.axes.rules import CONTRIB, NodeTyping, require, rule


@rule("Conv")
@rule("FusedConv", domain=CONTRIB)
def conv(node: NodeTyping) -> list[Axes] | None:
    """``x (N, C, *space)``, ``w (M, C / group, *kernel)``, ``b (M)``."""
    x, w = require(node.axes(0)), require(node.axes(1))
    groups = node.attr("group", 1)
    if groups == 1:
        node.unify(x[1], w[1])
        _contract(node)
    else:
        group = _groups(node, groups)
        node.unify(x[1], Product((group, w[1])))
        node.unify(w[0], Product((group, fresh(size_of(w[0]) // groups))))
        if size_of(w[1]) > 1:
            _contract(node)
    if node.has(2):
        node.unify(require(node.axes(2))[0], w[0])
    if node.has(3):  # the residual that ONNX Runtime fuses into FusedConv
        node.unify(require(node.axes(3))[1], w[0])
    return _written(node, x, w, w[0])


@rule("ConvTranspose")
def conv_transpose(node: NodeTyping) -> list[Axes] | None:
    """``x (N, C, *space)``, ``w (C, M / group, *kernel)``, ``b (M)``."""
    x, w = require(node.axes(0)), require(node.axes(1))
    groups = node.attr("group", 1)
    node.unify(x[1], w[0])
    out = w[1]
    inner = size_of(w[0]) // groups
    if groups > 1:
        group = _groups(node, groups)
        node.unify(w[0], Product((group, fresh(inner))))
        out = Product((group, w[1]))
    if inner > 1:
        _contract(node)
    if node.has(2):
        node.unify(require(node.axes(2))[0], out)
    return _written(node, x, w, out)


def _groups(node: NodeTyping, groups: int) -> Axis:
    group = fresh(groups)
    node.size(group, attribute="group")
    return group


def _contract(node: NodeTyping) -> None:
    if node.is_constant(0):
        node.contract(1, 1 if node.op != "ConvTranspose" else 0)
    else:
        node.contract(0, 1)


def _written(node: NodeTyping, x: Axes, w: Axes, channels: Axis) -> list[Axes]:
    """Kernels slide over the spatial axes; their places stay as they are."""
    reason = "it is a spatial axis of a convolution"
    node.freeze_all((*x[2:], *w[2:]), reason)
    space = require(node.out_shape())[2:]
    return [(x[0], channels, *(node.frozen(size, reason) for size in space))]
