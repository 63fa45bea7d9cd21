"""Convolutions in any number of dimensions: plain, grouped, depthwise, transposed."""

from __future__ import annotations

from graphprune.axes.algebra import Axes, Axis, Product, fresh, size_of
from graphprune.axes.rules import CONTRIB, Site, require, rule


@rule("Conv")
@rule("FusedConv", domain=CONTRIB)
def conv(site: Site) -> list[Axes] | None:
    """``x (N, C, *space)``, ``w (M, C / group, *kernel)``, ``b (M)``."""
    x, w = require(site.axes(0)), require(site.axes(1))
    groups = site.attr("group", 1)
    if groups == 1:
        site.unify(x[1], w[1])
        _contract(site)
    else:
        group = _groups(site, groups)
        site.unify(x[1], Product((group, w[1])))
        site.unify(w[0], Product((group, fresh(size_of(w[0]) // groups))))
        if size_of(w[1]) > 1:
            _contract(site)
    if site.has(2):
        site.unify(require(site.axes(2))[0], w[0])
    if site.has(3):  # the residual that ONNX Runtime fuses into FusedConv
        site.unify(require(site.axes(3))[1], w[0])
    return _written(site, x, w, w[0])


@rule("ConvTranspose")
def conv_transpose(site: Site) -> list[Axes] | None:
    """``x (N, C, *space)``, ``w (C, M / group, *kernel)``, ``b (M)``."""
    x, w = require(site.axes(0)), require(site.axes(1))
    groups = site.attr("group", 1)
    site.unify(x[1], w[0])
    out = w[1]
    inner = size_of(w[0]) // groups
    if groups > 1:
        group = _groups(site, groups)
        site.unify(w[0], Product((group, fresh(inner))))
        out = Product((group, w[1]))
    if inner > 1:
        _contract(site)
    if site.has(2):
        site.unify(require(site.axes(2))[0], out)
    return _written(site, x, w, out)


def _groups(site: Site, groups: int) -> Axis:
    group = fresh(groups)
    site.size(group, attribute="group")
    return group


def _contract(site: Site) -> None:
    if site.is_constant(0):
        site.contract(1, 1 if site.node.op != "ConvTranspose" else 0)
    else:
        site.contract(0, 1)


def _written(site: Site, x: Axes, w: Axes, channels: Axis) -> list[Axes]:
    """Kernels slide over the spatial axes; their places stay as they are."""
    reason = "it is a spatial axis of a convolution"
    site.freeze_all((*x[2:], *w[2:]), reason)
    space = require(site.out_shape())[2:]
    return [(x[0], channels, *(site.frozen(size, reason) for size in space))]
