"""MACs, parameters and bytes of a model and of parts of it.

Counted as in the papers (Jordao et al.): a convolution costs ``H_out W_out C_out (C_in / groups) kh kw``
multiply-accumulates, a dense layer ``in * out`` for each row,
a recurrent one ``gates * hidden (in + hidden)`` for each step and direction. Nothing else counts: no bias,
normalisation, activation, addition, pooling, nor the products of attention, which hold no weights.
Grouped convolutions cost what they compute. How often a body of Loop or Scan runs, and which of an If, only the data
tell: each counts once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

import onnx
import onnx_graphsurgeon as gs

from graphprune.analysis.sizes import Sizes
from graphprune.ir.bodies import all_nodes, with_bodies
from graphprune.ir.export import exported_bytes
from graphprune.ir.model import Model, constant_dims, constants
from graphprune.ir.quantised import is_quantised, weight_dims
from graphprune.ir.recurrent_states import RECURRENT

FEW_BITS = "MatMulNBits"
"""A dense layer of ONNX Runtime whose weights are packed, several to a byte."""
EXPERTS = {"MoE": (2, 4, 6), "QMoE": (2, 5, 8)}
"""Mixtures of experts in one operator, and the operands that are stacks of weights."""
_FLOATS = {"float16", "float32", "float64", "bfloat16"}


@dataclass(frozen=True)
class Cost:
    """Multiply-accumulates at the measured input shape, floating-point parameters, bytes of the written file."""

    macs: int
    params: int
    bytes: int = 0


def model_cost(model: Model, sizes: Sizes) -> Cost:
    """Cost of the whole model; ``sizes`` are its concrete tensor shapes."""
    return Cost(
        macs=sum(node_macs(node, sizes) for node in all_nodes(model.graph)),
        params=_params(constants(model.graph)),
        bytes=exported_bytes(model),
    )


def part_cost(model: Model, nodes: Iterable[str], sizes: Sizes) -> Cost:
    """What leaves when ``nodes`` leave: their MACs, and the parameters that nobody else reads."""
    members = set(nodes)
    gone = {each.name for node in all_nodes(model.graph) if node.name in members for each in with_bodies(node)}
    inside = [node for node in all_nodes(model.graph) if node.name in gone]
    outside = [node for node in all_nodes(model.graph) if node.name not in gone]
    shared = {t.name for node in outside for t in node.inputs}
    own = {t.name: t for node in inside for t in node.inputs if isinstance(t, gs.Constant) and t.name not in shared}
    return Cost(macs=sum(node_macs(node, sizes) for node in inside), params=_params(own.values()))


def node_macs(node: gs.Node, sizes: Sizes) -> int:
    """MACs of one node; 0 for what is not a convolution, dense or recurrent layer with constant weights."""
    if node.op == FEW_BITS:
        return prod(sizes.get(node.outputs[0].name, (0,))) * int(node.attrs["K"])
    if node.op == "Attention" and node.domain == "com.microsoft":  # with the projection of queries, keys and values
        read, weight = sizes.get(node.inputs[0].name), weight_dims(node, 1)
        return prod(read[:-1]) * prod(weight) if read and weight else 0
    if node.op in RECURRENT:
        read = sizes.get(node.inputs[0].name)
        weights = [weight_dims(node, operand) for operand in (1, 2)]
        return prod(read[:2]) * sum(prod(weight) for weight in weights if weight) if read else 0
    if node.op in EXPERTS:
        read, stacks = sizes.get(node.inputs[0].name), [weight_dims(node, operand) for operand in EXPERTS[node.op]]
        each = sum(_unpacked(node, at, prod(stack[1:])) for at, stack in enumerate(stacks) if stack)  # of one expert
        return prod(read[:-1]) * int(node.attrs.get("k", 1)) * each if read else 0
    if node.op in ("Conv", "ConvTranspose"):
        weight = weight_dims(node, 1)
        mapped = sizes.get(node.outputs[0].name if node.op == "Conv" else node.inputs[0].name)
        if weight is None or mapped is None:
            return 0
        # Conv weight: (C_out, C_in / groups, *k); ConvTranspose: (C_in, C_out / groups, *k), once per input position.
        return mapped[0] * prod(mapped[2:]) * prod(weight)
    if node.op in ("Gemm", "MatMul"):
        written = sizes.get(node.outputs[0].name)
        for operand in (1, 0):
            weight = weight_dims(node, operand)
            if weight and written is not None:
                return prod(written) * _contracted(node, weight, operand)
    return 0


def _unpacked(node: gs.Node, stack: int, elements: int) -> int:
    """How many weights lie in so many elements of one of a node's stacks: of QMoE a few bits each."""
    bits = node.attrs.get(f"fc{stack + 1}_expert_weight_bits") or node.attrs.get("expert_weight_bits", 4)
    return elements * 8 // int(bits) if node.op == "QMoE" else elements


def _contracted(node: gs.Node, weight: tuple[int, ...], operand: int) -> int:
    """Size of the axis that is summed over."""
    if len(weight) == 1:
        return weight[0]
    transposed = bool(node.attrs.get("transB" if operand == 1 else "transA", 0))
    first = (operand == 1) != transposed
    return weight[-2] if first else weight[-1]


def parameters(tensor: gs.Constant) -> int:
    """How many parameters a constant holds: floating-point numbers or such as are dequantised; a scalar is none."""
    for reader in tensor.outputs:
        if reader.op == FEW_BITS and reader.inputs[1] is tensor:
            return int(reader.attrs["N"] * reader.attrs["K"])
        for at, operand in enumerate(EXPERTS["QMoE"] if reader.op == "QMoE" else ()):
            if operand < len(reader.inputs) and reader.inputs[operand] is tensor:
                return _unpacked(reader, at, prod(constant_dims(tensor)))
    is_counted = bool(constant_dims(tensor)) and (_is_float(tensor) or is_quantised(tensor))
    return prod(constant_dims(tensor)) if is_counted else 0


def _params(tensors: Iterable[gs.Constant]) -> int:
    return sum(map(parameters, tensors))


def _is_float(tensor: gs.Constant) -> bool:
    dtype = tensor.dtype
    if isinstance(dtype, int):  # graphsurgeon keeps types that NumPy lacks as ONNX numbers
        return onnx.TensorProto.DataType.Name(dtype).lower() in _FLOATS
    return str(dtype) in _FLOATS
