"""Quantised models without rounding.

A sum that differs in its last bit may be rounded to the next step, and that is far more than a rewrite may change;
also runtimes round for themselves where weights are quantised. So quantised models are compared twice:
as they are, to within their own rounding, and exactly, with weights dequantised beforehand and activations clipped
where they would saturate, but not rounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from graphprune.ir.model import Model
from graphprune.ir.quantised import ROUNDING
from graphprune.ir.shape_inference import standard_opset

_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"

_Tensors = dict[str, onnx.TensorProto]


def is_quantised(model: Model) -> bool:
    """Whether anything in it is rounded."""
    return any(node.op in ROUNDING for node in model.graph.nodes)


def without_rounding(proto: onnx.ModelProto, folder: Path | None) -> onnx.ModelProto:
    """A copy with floating-point weights, and activations with one scale clipped to the range of their integers.

    ``folder`` is where external data lie.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    known: _Tensors = {tensor.name: tensor for tensor in copy.graph.initializer}
    made = {name: node for node in copy.graph.node for name in node.output}
    nodes: list[onnx.NodeProto] = []
    for node in copy.graph.node:
        if node.op_type in ROUNDING and all(name in known for name in node.input if name):
            known[node.output[0]] = _computed(node, known, copy, folder)
            copy.graph.initializer.append(known[node.output[0]])
            continue
        maker = made.get(node.input[0]) if node.op_type == _DEQUANTIZE else None
        ends = _range(maker, known) if maker is not None and maker.op_type == _QUANTIZE else None
        if maker is None or ends is None:
            nodes.append(node)
            continue
        name = node.output[0]
        lower, upper = (onnx.numpy_helper.from_array(end, f"{name}/end{index}") for index, end in enumerate(ends))
        copy.graph.initializer.extend([lower, upper])
        nodes.append(onnx.helper.make_node("Max", [maker.input[0], lower.name], [f"{name}/raised"]))
        nodes.append(onnx.helper.make_node("Min", [f"{name}/raised", upper.name], [name]))
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del copy.graph.node[:]
    copy.graph.node.extend(copies)
    return copy


def _computed(node: onnx.NodeProto, known: _Tensors, proto: onnx.ModelProto, folder: Path | None) -> onnx.TensorProto:
    """What a node makes of constants, by ONNX's own evaluator."""
    feeds = {name: onnx.numpy_helper.to_array(known[name], str(folder or "")) for name in node.input if name}
    standard = onnx.NodeProto()
    standard.CopyFrom(node)
    standard.domain = ""
    opset = standard_opset(proto) or 21
    (values,) = ReferenceEvaluator(standard, opsets={"": max(opset, 13)}).run(None, feeds)
    return onnx.numpy_helper.from_array(np.asarray(values), node.output[0])


def _range(node: onnx.NodeProto, known: Mapping[str, onnx.TensorProto]) -> tuple[np.ndarray, np.ndarray] | None:
    """Least and largest number that a QuantizeLinear with one constant scale can write."""
    operands = [known.get(name) for name in node.input[1:] if name]
    if None in operands:
        return None
    scale, *zero = (onnx.numpy_helper.to_array(operand) for operand in operands if operand is not None)
    offset = zero[0] if zero else np.zeros((), np.uint8)
    if scale.size != 1 or offset.dtype.kind not in "iu":
        return None
    limits = np.iinfo(offset.dtype)
    least, largest = ((np.float64(end) - np.float64(offset)) * scale for end in (limits.min, limits.max))
    return np.asarray(least.reshape(()), scale.dtype), np.asarray(largest.reshape(()), scale.dtype)
