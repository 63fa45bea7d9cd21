"""Quantised models without the rounding of their activations.

A sum that differs in its last bit may be rounded to the next step, and that is far more than a rewrite may change. So
quantised models are compared twice: as they are, to within their own rounding, and exactly, with activations clipped
where they would saturate but not rounded. Weights stay quantised.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from graphprune.ir.model import Model
from graphprune.ir.quantised import weight_place

_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"


def rounds_activations(model: Model) -> bool:
    """Whether something that is computed is quantised."""
    return any(node.op == _QUANTIZE and weight_place(node, 0) is None for node in model.graph.nodes)


def without_rounding(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which activations with one scale are clipped to the range of their integers, and not rounded."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    weights = {tensor.name: tensor for tensor in copy.graph.initializer}
    made = {name: node for node in copy.graph.node for name in node.output}
    nodes: list[onnx.NodeProto] = []
    for node in copy.graph.node:
        maker = made.get(node.input[0]) if node.op_type == _DEQUANTIZE else None
        ends = None
        if maker is not None and maker.op_type == _QUANTIZE and maker.input[0] not in weights:
            ends = _range(maker, weights)
        if maker is None or ends is None:
            nodes.append(node)
            continue
        name = node.output[0]
        lower, upper = (
            onnx.numpy_helper.from_array(end, f"{name}/{side}") for end, side in zip(ends, "lu", strict=True)
        )
        copy.graph.initializer.extend([lower, upper])
        nodes.append(onnx.helper.make_node("Max", [maker.input[0], lower.name], [f"{name}/raised"]))
        nodes.append(onnx.helper.make_node("Min", [f"{name}/raised", upper.name], [name]))
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del copy.graph.node[:]
    copy.graph.node.extend(copies)
    return copy


def _range(node: onnx.NodeProto, weights: Mapping[str, onnx.TensorProto]) -> tuple[np.ndarray, np.ndarray] | None:
    """Least and largest number that a QuantizeLinear with one constant scale can write."""
    operands = [weights.get(name) for name in node.input[1:] if name]
    if None in operands:
        return None
    scale, *zero = (onnx.numpy_helper.to_array(operand) for operand in operands if operand is not None)
    offset = zero[0] if zero else np.zeros((), np.uint8)
    if scale.size != 1 or offset.dtype.kind not in "iu":
        return None
    limits = np.iinfo(offset.dtype)
    least, largest = ((np.float64(end) - np.float64(offset)) * scale for end in (limits.min, limits.max))
    return np.asarray(least.reshape(()), scale.dtype), np.asarray(largest.reshape(()), scale.dtype)
