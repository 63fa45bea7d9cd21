"""Products of matrices: dense layers where one side is a constant, functions where it is not."""

from __future__ import annotations

import onnx_graphsurgeon as gs
import torch
from torch import fx, nn

from graphprune.ir.model import constant_dims
from graphprune.torch_bridge.functions import arrays
from graphprune.torch_bridge.modules import Projection
from graphprune.torch_bridge.rules import CONTRIB, NodeConversion, rule
from graphprune.torch_bridge.weights import is_named, module_path


@rule("MatMul")
def matmul(node: NodeConversion) -> fx.Node:
    """``x (..., K)`` times a constant ``(K, N)`` is a dense layer; a bias added right behind becomes its own."""
    if not node.is_weight(1, 2) or node.is_constant(0):
        return node.call(torch.matmul, *node.tensors())
    return _dense(node, node.inputs[1], _following_bias(node, node.dims(1)[1]), is_outputs_first=False)


@rule("Gemm")
def gemm(node: NodeConversion) -> fx.Node:
    """``alpha A B + beta C``: a dense layer where B and C are a constant matrix and vector and nothing is scaled."""
    is_plain = node.attr("alpha", 1.0) == 1.0 and node.attr("beta", 1.0) == 1.0 and not node.attr("transA", 0)
    is_outputs_first = bool(node.attr("transB", 0))
    if is_plain and node.is_weight(1, 2) and not node.is_constant(0):
        outputs = node.dims(1)[0 if is_outputs_first else 1]
        if not node.has(2) or (node.is_weight(2, 1) and node.dims(2) == (outputs,)):
            bias = node.inputs[2] if node.has(2) else None
            return _dense(node, node.inputs[1], bias, is_outputs_first=is_outputs_first)
    c = node.tensor(2) if node.has(2) else None
    return node.call(
        arrays.gemm,
        node.tensor(0),
        node.tensor(1),
        c,
        node.attr("alpha", 1.0),
        node.attr("beta", 1.0),
        bool(node.attr("transA", 0)),
        is_outputs_first,
    )


@rule("FusedMatMul", domain=CONTRIB)
def fused_matmul(node: NodeConversion) -> fx.Node:
    """A product with transposed sides, scaled."""
    one, other = node.tensors()
    if node.attr("transBatchA", 0) or node.attr("transBatchB", 0):
        node.refuse("it moves the batch axes")
    one = node.call(torch.transpose, one, -1, -2) if node.attr("transA", 0) else one
    other = node.call(torch.transpose, other, -1, -2) if node.attr("transB", 0) else other
    return node.call(torch.mul, node.call(torch.matmul, one, other), node.attr("alpha", 1.0))


@rule("MatMulNBits", domain=CONTRIB)
def few_bits(node: NodeConversion) -> fx.Node:
    """Refused: whole numbers have no gradient."""
    node.refuse("its weights are whole numbers of few bits", "train the network of floats, then quantise")


@rule("Einsum")
def einsum(node: NodeConversion) -> fx.Node:
    """Einstein's sum, in torch's own words for it."""
    return node.call(torch.einsum, node.attr("equation"), *node.tensors())


def _dense(node: NodeConversion, weight: gs.Constant, bias: gs.Constant | None, *, is_outputs_first: bool) -> fx.Node:
    """A Linear, or a Projection for a weight that its author, or another reader, keeps the other way round."""
    parameters = node.conversion.parameters
    rows, columns = constant_dims(weight)
    tie = parameters.tied(weight) if not is_outputs_first else None
    keeps = (weight.name, "same") in parameters.held or is_named(weight.name)
    is_projection = not is_outputs_first and keeps and tie is None
    layout = "transposed" if not is_outputs_first and not is_projection else "same"
    inputs, outputs = (columns, rows) if is_outputs_first else (rows, columns)
    path = _path(node, weight, bias)

    def place() -> str:
        module: nn.Module
        if is_projection:
            module = Projection(inputs, outputs, bias=bias is not None)
        else:
            module = nn.Linear(inputs, outputs, bias=bias is not None, device="meta")
        if tie is not None:
            parameters.tie(weight, layout, tie)
        (parameter,) = parameters.of(weight, layout)
        module.register_parameter("weight", parameter)
        if bias is not None:
            module.register_parameter("bias", parameters.of(bias)[0])
        where = node.conversion.tree.add_module(path, module)
        parameters.member(where, weight, ["weight"], layout)
        if bias is not None:
            parameters.member(where, bias, ["bias"])
            if not is_named(weight.name) and is_named(bias.name) and bias.name.endswith("_bias"):
                alias = bias.name[: -len("bias")] + "weight"  # in_proj_bias, in_proj_weight
                parameters.aliases.append((alias, parameter))
        return where

    identity = "dense", weight.name, bias.name if bias is not None else "", layout
    return node.shared_module(identity, place, node.tensor(0))


def _path(node: NodeConversion, weight: gs.Constant, bias: gs.Constant | None) -> str:
    found = module_path(weight.name, "weight")
    if not found and bias is not None:
        found = module_path(bias.name, "bias")
        if not found and is_named(bias.name) and bias.name.endswith("_bias"):
            found = bias.name[: -len("_bias")]
    if not found and is_named(weight.name):
        return str(weight.name.rpartition(".")[0] or weight.name)
    return found or node.conversion.source.layer_path(node.name)


def _following_bias(node: NodeConversion, outputs: int) -> gs.Constant | None:
    """The vector that the only reader adds; that node is done with this one."""
    result = node.outputs[0]
    readers = list(result.outputs)
    if len(readers) != 1 or result.name in node.conversion.source.view.outputs or readers[0].op != "Add":
        return None
    if result.name in node.conversion.source.view.read_by_subgraphs:
        return None
    add = NodeConversion(readers[0], node.conversion, node.opset)
    place = next((index for index in (0, 1) if readers[0].inputs[index] is not result), None)
    if place is None or not add.is_weight(place, 1) or add.dims(place) != (outputs,):
        return None
    bias: gs.Constant = readers[0].inputs[place]
    node.conversion.tensors.absorbed[readers[0].outputs[0].name] = result.name
    return bias
