"""A linear map in place of a residual branch: where it stands, what it costs, and which blocks can have one.

Erdogan et al., "Efficient Large Language Model Inference with Neural Block Linearization" (arXiv 2505.21077):
``y = x + f(x)`` becomes ``y = x + x A + b``. The numbers come from elsewhere (:mod:`graphprune.repair.linear_fit`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from graphprune.analysis.block_entries import SKIP_NORM_BIAS
from graphprune.analysis.blocks import Block, Join
from graphprune.analysis.cost import Cost, part_cost
from graphprune.analysis.dataflow import is_weighted
from graphprune.analysis.model_analysis import ModelAnalysis
from graphprune.analysis.refusals import Refusal
from graphprune.analysis.sizes import Sizes
from graphprune.axes import algebra
from graphprune.axes.algebra import Atom, Axes
from graphprune.ir.free_names import free_name, names_in
from graphprune.ir.model import Model
from graphprune.ir.quantised import ROUNDING

Array = NDArray[np.float64]

_FLOATS = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE}
_SUMS = {"Add", "Sum"}


@dataclass(frozen=True)
class LinearMap:
    """``entry @ weights + shift`` (channels last) stands where ``output`` was made: at the join of ``block``, with
    ``I + A`` for weights, or, where a fused norm does the adding (not ``is_merged``), at the end of the branch.

    ``axis`` is that of the channels, 1 or the last (-1), of the ``rank`` that the tensors have; ``dtype`` an ONNX one,
    in which the numbers are written. ``node`` is the name of the node that multiplies.
    """

    block: Block
    node: str
    output: str
    axis: int
    rank: int
    dtype: int
    is_merged: bool
    weights: Array
    shift: Array

    @property
    def width(self) -> int:
        """Channels."""
        return len(self.shift)

    @property
    def nodes(self) -> tuple[str, str]:
        """The names of its nodes: the one that multiplies and, where that cannot, the one that shifts."""
        return self.node, f"{self.node}/shifted"

    @property
    def gone(self) -> tuple[str, ...]:
        """The nodes that leave: the branch, and the join where the map adds by itself. What follows the join stays."""
        nodes = self.block.nodes
        upto = nodes[: nodes.index(self.block.join)] if self.block.join in nodes else nodes
        return (*upto, self.block.join) if self.is_merged else upto

    def added(self) -> Array:
        """``A``: what is added to the entry is ``entry @ A + shift``."""
        return self.weights - np.eye(self.width) if self.is_merged else self.weights

    def with_values(self, weights: Array, shift: Array) -> LinearMap:
        return replace(self, weights=weights, shift=shift)

    def of(self, entry: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """What the map makes of the values of the block's entry, in their type."""
        x = np.moveaxis(entry, self.axis, -1)
        y = x @ self.weights.astype(x.dtype) + self.shift.astype(x.dtype)
        return np.ascontiguousarray(np.moveaxis(y, -1, self.axis))


Fitter = Callable[[ModelAnalysis, Sequence[LinearMap]], Sequence[LinearMap]]
"""Gives maps of the network at hand, which so far do nothing, their numbers."""


def as_given(analysis: ModelAnalysis, maps: Sequence[LinearMap]) -> Sequence[LinearMap]:
    """A fitter for those who only look at the graph or at its time."""
    return maps


def linear_maps(analysis: ModelAnalysis, joins: Sequence[Join]) -> list[LinearMap | Refusal]:
    """For each join the map that could take the place of its block, which as it is here adds nothing to the entry."""
    summed = _summed_over(analysis) if joins else set()
    return [_linear_map(analysis, join, summed) for join in joins]


def saved(model: Model, map_: LinearMap, sizes: Sizes) -> Cost:
    """What is saved by the map, its own cost taken off; below 0 where it is dearer than the branch."""
    gone = part_cost(model, map_.gone, sizes)
    macs, params = prod(sizes[map_.block.entry]) * map_.width, map_.width * (map_.width + 1)
    return Cost(gone.macs - macs, gone.params - params)


def _linear_map(analysis: ModelAnalysis, join: Join, summed: Set[Atom]) -> LinearMap | Refusal:
    block, model, flow = join.block, analysis.model, analysis.flow
    if block is None:
        return join.refusal or Refusal("no-block", f"{join.node} ends no block")
    if block.join not in flow.nodes:
        return Refusal("linear-body", f"{block.name} lies in the body of an If, Loop or Scan")
    if block.pads:
        return Refusal("linear-width", f"what enters {block.name} is narrower than what leaves it")
    node = flow.nodes[block.join]
    is_sum = node.op in _SUMS or node.op in SKIP_NORM_BIAS
    if not is_sum or any(reader != block.join for reader, _ in block.branches):
        return Refusal("linear-join", f"{block.name} does not end in a plain sum, but in {node.op}")
    dtype = model.dtypes.get(block.entry) or _type_of_weights(model, block)
    if dtype not in _FLOATS or any(flow.nodes[name].op in ROUNDING for name in block.nodes):
        return Refusal("linear-type", f"{block.name} does not compute with floating-point numbers alone")
    axis = _channel_axis(analysis.typing.axes.get(block.entry, ()), summed)
    if axis == 0:
        return Refusal("linear-axis", f"it is not clear which axis of '{block.entry}' holds channels")
    shape, is_merged = analysis.sizes[block.entry], node.op in _SUMS
    width = shape[axis]
    weights = np.eye(width) if is_merged else np.zeros((width, width))
    output = node.outputs[0].name if is_merged else node.inputs[block.branches[0][1]].name
    name = free_name(f"{block.join}/linear", set(model.derived(names_in)))
    return LinearMap(block, name, output, axis, len(shape), dtype, is_merged, weights, np.zeros(width))


def _type_of_weights(model: Model, block: Block) -> int:
    """Of the first floating-point weights in ``block``: shape inference knows no types behind ONNX Runtime's own
    operators.
    """
    nodes = {node.name: node for node in model.graph.nodes}
    constants = (each for name in block.layers for each in nodes[name].inputs if isinstance(each, gs.Constant))
    types = (each.dtype for each in constants)
    found = (each if isinstance(each, int) else onnx.helper.np_dtype_to_tensor_dtype(np.dtype(each)) for each in types)
    return next((each for each in found if each in _FLOATS), onnx.TensorProto.UNDEFINED)


def _summed_over(analysis: ModelAnalysis) -> set[Atom]:
    """What layers with weights sum over."""
    nodes, typing = analysis.flow.nodes, analysis.typing
    found: set[Atom] = set()
    for place in typing.contractions:
        node = nodes.get(place.node)
        if node is None or not is_weighted(node) or not any(isinstance(each, gs.Constant) for each in node.inputs):
            continue
        axes = typing.of(node, place.operand)
        found |= set() if axes is None else set(algebra.atoms_of(axes[place.axis]))
    return found


def _channel_axis(axes: Axes, summed: Set[Atom]) -> int:
    """-1 or 1; 0 where it is neither, or unknown. Of two that are summed over (a mixer's tokens), the last counts."""
    places = [place for place, axis in enumerate(axes) if summed & set(algebra.atoms_of(axis))]
    if len(axes) - 1 in places and len(axes) > 1:
        return -1
    return 1 if places == [1] else 0
