"""A layer as a matrix: its weights, what it multiplies them with, and the way back into the graph."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from graphprune.ir.model import Model, constant_dims, read_values
from graphprune.repair.sites import CONVOLUTIONS, RepairLayer, is_layer
from graphprune.repair.windows import windows
from graphprune.rewrite.weights import set_values

Matrix = NDArray[np.float64]

_DEAD = 1e-6  # of the largest: a channel that BatchNorm has switched off


def is_alive(factors: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which channels the weights (or a bias) reach through ``factors``; others cannot be changed."""
    size = np.abs(factors)
    alive: NDArray[np.bool_] = size > _DEAD * size.max(initial=0.0)
    return alive


def shape_of(node: gs.Node) -> tuple[int, int, int]:
    """Groups, inputs of a group (kernels count), outputs of a group."""
    dims = constant_dims(node.inputs[1])
    if node.op in CONVOLUTIONS:
        groups = int(node.attrs.get("group", 1))
        if node.op == "ConvTranspose":
            return groups, dims[0] // groups * prod(dims[2:]), dims[1]
        return groups, prod(dims[1:]), dims[0] // groups
    inputs, outputs = reversed(dims) if node.attrs.get("transB", 0) else dims
    return 1, inputs, outputs


def widest(model: Model) -> int:
    """The most inputs (kernels count) of a layer that can be refitted: rows of the largest Gram matrix; 0 without."""
    return max((shape_of(node)[1] for node in model.graph.nodes if is_layer(node)), default=0)


def exit_matrix(model: Model, node: gs.Node, scale: NDArray[np.float64]) -> Matrix:
    """Weights (groups, inputs, outputs) as they act on the exit, per-channel ``scale`` included."""
    groups, inputs, outputs = shape_of(node)
    values = np.asarray(read_values(node.inputs[1], model.folder), np.float64)
    if node.op == "ConvTranspose":
        values = values.reshape(groups, -1, outputs, prod(values.shape[2:])).transpose(0, 1, 3, 2)
    elif node.op == "Conv" or node.attrs.get("transB", 0):
        values = values.reshape(groups, outputs, inputs).transpose(0, 2, 1)
    return values.reshape(groups, inputs, outputs) * scale.reshape(groups, 1, outputs)


def write(model: Model, site: RepairLayer, matrix: Matrix, shift: NDArray[np.float64]) -> None:
    """Make ``site`` compute ``matrix`` (groups, inputs, outputs) and ``shift`` (channels,) at its exit."""
    nodes = {node.name: node for node in model.graph.nodes}
    node = nodes[site.node]
    groups, _, outputs = matrix.shape
    old = exit_matrix(model, node, np.ones_like(site.scale))
    scale = site.scale.reshape(groups, 1, outputs)
    alive = is_alive(scale)
    weights = np.where(alive, matrix / np.where(alive, scale, 1.0), old)
    dims = constant_dims(node.inputs[1])
    if node.op == "ConvTranspose":
        weights = weights.reshape(groups, -1, prod(dims[2:]), outputs).transpose(0, 1, 3, 2)
    elif node.op == "Conv" or node.attrs.get("transB", 0):
        weights = weights.transpose(0, 2, 1)
    set_values(model, node, 1, weights.reshape(dims))
    if site.bias is not None:
        holder, operand = nodes[site.bias.node], site.bias.operand
        values = np.asarray(read_values(holder.inputs[operand], model.folder), np.float64)
        added = (shift - site.shift) / np.where(is_alive(site.bias.gain), site.bias.gain, np.inf)
        set_values(model, holder, operand, values + added.reshape(values.shape))


def rows(
    node: gs.Node,
    values: np.ndarray,
    places: NDArray[np.intp] | None = None,
    dtype: type[np.floating[Any]] = np.float64,
) -> NDArray[np.floating[Any]]:
    """What the weights multiply: (positions, groups, inputs of a group), positions in the order of the output's.

    ``places`` picks some positions of each sample.
    """
    groups, inputs, _ = shape_of(node)
    is_conv = node.op in CONVOLUTIONS
    seen = windows(node, values) if is_conv else values
    own_axes = values.ndim - 1 if is_conv else 1
    return picked(seen, own_axes, places).reshape(-1, groups, inputs).astype(dtype, copy=False)


def picked(values: np.ndarray, own_axes: int, places: NDArray[np.intp] | None) -> np.ndarray:
    """Some positions (flat) of each sample of (samples, *positions, ...),
    whose last ``own_axes`` axes are no positions.
    """
    if places is None:
        return values
    space = values.shape[1 : values.ndim - own_axes]
    index: tuple[Any, ...] = (slice(None), *np.unravel_index(places, space))
    chosen: np.ndarray = values[index]
    return chosen
