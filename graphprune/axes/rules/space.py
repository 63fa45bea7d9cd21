"""Operators over space: pooling, resizing, spectra, and moving channels into space and back."""

from __future__ import annotations

from graphprune.axes.algebra import Axes, Axis, Product, fresh, size_of
from graphprune.axes.rules import NodeTyping, require, rule


@rule("AveragePool", "MaxPool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def pool(node: NodeTyping) -> list[Axes] | None:
    """Channel by channel; places found by MaxPool count through the channels, so nobody may use them."""
    x = require(node.axes(0))
    reason = f"{node.op} runs over it"
    node.freeze_all(x[2:], reason)
    if len(node.outputs) > 1 and node.outputs[1].outputs:
        node.freeze(x[1], "MaxPool's indices count through it")
    space = require(node.out_shape())[2:]
    written: Axes = (*x[:2], *(node.frozen(size, reason) for size in space))
    return [written, written][: len(node.outputs)]


@rule("Resize")
def resize(node: NodeTyping) -> list[Axes] | None:
    """Axes that keep their size pass through; a list of sizes names them all the same."""
    x, shape = require(node.axes(0)), require(node.out_shape())
    named = [axis % len(x) for axis in node.attr("axes") or range(len(x))]
    scales = node.value(2)
    written: list[Axis] = []
    for index, (axis, size) in enumerate(zip(x, shape, strict=True)):
        scaled = (
            scales is not None and scales.size and index in named and float(scales.ravel()[named.index(index)]) != 1
        )
        if size_of(axis) == size and not scaled:
            written.append(axis)
            if node.has(3) and index in named:
                node.size(axis, operand=3, element=named.index(index))
        else:
            node.freeze(axis, "Resize interpolates along it")
            written.append(node.frozen(size, "Resize interpolates along it"))
    return [tuple(written)]


@rule("DepthToSpace")
def depth_to_space(node: NodeTyping) -> list[Axes] | None:
    """The input's channels are block x block x channels (DCR) or channels x block x block (CRD)."""
    x = require(node.axes(0))
    block, reason = node.attr("blocksize"), "DepthToSpace moves it into space"
    blocks = [node.frozen(block, reason) for _ in range(2)]
    channels = fresh(size_of(x[1]) // block**2)
    is_outer = node.attr("mode", "DCR") == "CRD"
    node.unify(x[1], Product((channels, *blocks) if is_outer else (*blocks, channels)))
    return [(x[0], channels, *_moved(node, x, reason))]


@rule("SpaceToDepth")
def space_to_depth(node: NodeTyping) -> list[Axes] | None:
    """The output's channels are block x block x channels."""
    x = require(node.axes(0))
    reason = "SpaceToDepth moves space into it"
    blocks = [node.frozen(node.attr("blocksize"), reason) for _ in range(2)]
    return [(x[0], Product((*blocks, x[1])), *_moved(node, x, reason))]


def _moved(node: NodeTyping, x: Axes, reason: str) -> list[Axis]:
    node.freeze_all(x[2:], reason)
    return [node.frozen(size, reason) for size in require(node.out_shape())[2:]]


@rule("GridSample")
def grid_sample(node: NodeTyping) -> list[Axes] | None:
    """Samples and channels pass through."""
    x, grid = require(node.axes(0)), require(node.axes(1))
    node.unify(x[0], grid[0])
    node.freeze_all((*x[2:], *grid[1:]), "GridSample interpolates along it")
    return [(x[0], x[1], *grid[1:-1])]


@rule("DFT")
def fourier(node: NodeTyping) -> list[Axes] | None:
    """Signals beside each other are transformed one by one; the last axis holds real and imaginary parts."""
    x, shape = require(node.axes(0)), require(node.out_shape())
    given = require(node.ints(2))[0] if node.has(2) else node.attr("axis", 1 if node.opset < 20 else -2)
    reason = "DFT runs along it"
    transformed = (given % len(x), len(x) - 1)
    node.freeze_all([x[index] for index in transformed], reason)
    return [tuple(node.frozen(shape[i], reason) if i in transformed else axis for i, axis in enumerate(x))]
