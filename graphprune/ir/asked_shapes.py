"""Who asks for the shape of a tensor asks the first one that must have it.

TorchScript's exporter takes batch and length of an attention from what its norm gives. The norm would then be needed
without the attention, and no longer be part of its block. What the norm reads has the same shape by what operators are,
whatever their sizes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_graphsurgeon as gs

from graphprune.ir.model import Shape, constant_dims

SHAPE_OPS = {"Shape", "Size"}
"""Operators that ask for the shape of what they read, not for its values."""

_SAME_SHAPE = {  # the first output has the shape of the first input
    *("Abs", "BatchNormalization", "Cast", "Ceil", "Clip", "Elu", "Erf", "Exp", "FastGelu", "Floor", "Gelu"),
    *("GroupNormalization", "HardSigmoid", "HardSwish", "InstanceNormalization", "LayerNormalization", "LeakyRelu"),
    *("Log", "LogSoftmax", "LpNormalization", "LRN", "MeanVarianceNormalization", "Mish", "Neg", "QuickGelu"),
    *("RMSNormalization", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "SimplifiedLayerNormalization", "Softmax"),
    *("Softplus", "Softsign", "Sqrt", "Swish", "Tanh", "ThresholdedRelu"),
}
_BROADCASTS = {"Add", "Sub", "Mul", "Div", "Pow"}
_KEEPS_DIMS = {"ReduceMean", "ReduceSum", "ReduceSumSquare", "ReduceL1", "ReduceL2", "ReduceMax", "ReduceMin"}
_NORM_MAX_NODES = 8  # from what is normalised to the factor that does it


def ask_earlier(graph: gs.Graph, shapes: Mapping[str, Shape]) -> None:
    """Let every Shape and Size of ``graph`` read the earliest tensor of the shape it asks for."""
    for node in graph.nodes:
        if node.op in SHAPE_OPS and node.outputs:  # folded nodes have lost their outputs
            while (source := _of_same_shape(node.inputs[0], shapes)) is not None:
                node.inputs[0] = source


def _of_same_shape(tensor: gs.Tensor, shapes: Mapping[str, Shape]) -> gs.Tensor | None:
    """What the maker of ``tensor`` reads that must have its shape; None where that is not sure."""
    maker = _maker(tensor)
    if maker is None or tensor is not maker.outputs[0]:
        return None
    read = maker.inputs
    if maker.op in _SAME_SHAPE:
        return None if isinstance(read[0], gs.Constant) else read[0]
    if maker.op in _BROADCASTS and len(read) == 2:
        for own, other in (read, read[::-1]):
            if not isinstance(own, gs.Constant) and _is_spread(other, own, shapes):
                return own
    return None


def _is_spread(other: gs.Tensor, own: gs.Tensor, shapes: Mapping[str, Shape]) -> bool:
    """Whether ``other`` is broadcast to the shape of ``own``: a constant that is no larger, or a reduction of it."""
    if isinstance(other, gs.Constant):
        return _fits(constant_dims(other), shapes.get(own.name))
    for _ in range(_NORM_MAX_NODES):
        if other is own:
            return True
        maker = _maker(other)
        if maker is None or not (_reduces(maker) or maker.op in _SAME_SHAPE or _is_by_number(maker)):
            return False
        other = next(each for each in maker.inputs if not isinstance(each, gs.Constant))
    return False


def _fits(dims: Sequence[int], shape: Shape | None) -> bool:
    """Whether a constant of ``dims`` makes nothing of that shape larger."""
    if shape is None or len(dims) > len(shape):
        return not dims
    return all(dim in (1, own) for dim, own in zip(dims[::-1], shape[::-1], strict=False))


def _reduces(node: gs.Node) -> bool:
    return (
        node.op in _KEEPS_DIMS and bool(node.attrs.get("keepdims", 1)) and not isinstance(node.inputs[0], gs.Constant)
    )


def _is_by_number(node: gs.Node) -> bool:
    """Whether a node computes with one tensor and one number."""
    constants = [each for each in node.inputs if isinstance(each, gs.Constant)]
    return node.op in _BROADCASTS and len(node.inputs) == 2 and [*map(constant_dims, constants)] == [()]


def _maker(tensor: gs.Tensor) -> gs.Node | None:
    return tensor.inputs[0] if not isinstance(tensor, gs.Constant) and tensor.inputs else None
