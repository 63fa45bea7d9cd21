"""Operators over space: pooling, resizing, and moving channels into space and back."""

from __future__ import annotations

from graphprune.axes.algebra import Axes, Axis, Product, fresh, size_of
from graphprune.axes.rules import Site, require, rule


@rule("AveragePool", "MaxPool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def pool(site: Site) -> list[Axes] | None:
    """Channel by channel; places found by MaxPool count through the channels, so nobody may use them."""
    x = require(site.axes(0))
    reason = f"{site.node.op} runs over it"
    site.freeze_all(x[2:], reason)
    if len(site.node.outputs) > 1 and site.node.outputs[1].outputs:
        site.freeze(x[1], "MaxPool's indices count through it")
    space = require(site.out_shape())[2:]
    written: Axes = (*x[:2], *(site.frozen(size, reason) for size in space))
    return [written, written][: len(site.node.outputs)]


@rule("Resize")
def resize(site: Site) -> list[Axes] | None:
    """Axes that keep their size pass through; a list of sizes names them all the same."""
    x, shape = require(site.axes(0)), require(site.out_shape())
    named = [axis % len(x) for axis in site.attr("axes") or range(len(x))]
    scales = site.value(2)
    written: list[Axis] = []
    for index, (axis, size) in enumerate(zip(x, shape, strict=True)):
        scaled = (
            scales is not None and scales.size and index in named and float(scales.ravel()[named.index(index)]) != 1
        )
        if size_of(axis) == size and not scaled:
            written.append(axis)
            if site.has(3) and index in named:
                site.size(axis, operand=3, element=named.index(index))
        else:
            site.freeze(axis, "Resize interpolates along it")
            written.append(site.frozen(size, "Resize interpolates along it"))
    return [tuple(written)]


@rule("DepthToSpace")
def depth_to_space(site: Site) -> list[Axes] | None:
    """The input's channels are block x block x channels (DCR) or channels x block x block (CRD)."""
    x = require(site.axes(0))
    block, reason = site.attr("blocksize"), "DepthToSpace moves it into space"
    blocks = [site.frozen(block, reason) for _ in range(2)]
    channels = fresh(size_of(x[1]) // block**2)
    is_outer = site.attr("mode", "DCR") == "CRD"
    site.unify(x[1], Product((channels, *blocks) if is_outer else (*blocks, channels)))
    return [(x[0], channels, *_moved(site, x, reason))]


@rule("SpaceToDepth")
def space_to_depth(site: Site) -> list[Axes] | None:
    """The output's channels are block x block x channels."""
    x = require(site.axes(0))
    reason = "SpaceToDepth moves space into it"
    blocks = [site.frozen(site.attr("blocksize"), reason) for _ in range(2)]
    return [(x[0], Product((*blocks, x[1])), *_moved(site, x, reason))]


def _moved(site: Site, x: Axes, reason: str) -> list[Axis]:
    site.freeze_all(x[2:], reason)
    return [site.frozen(size, reason) for size in require(site.out_shape())[2:]]


@rule("GridSample")
def grid_sample(site: Site) -> list[Axes] | None:
    """Samples and channels pass through."""
    x, grid = require(site.axes(0)), require(site.axes(1))
    site.unify(x[0], grid[0])
    site.freeze_all((*x[2:], *grid[1:]), "GridSample interpolates along it")
    return [(x[0], x[1], *grid[1:-1])]
