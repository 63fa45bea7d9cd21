"""Products of matrices: dense layers where one side is a constant, functions where it is not."""

from __future__ import annotations

import onnx_graphsurgeon as gs
import torch
from torch import fx, nn

from graphprune.ir.model import constant_dims
from graphprune.torch_bridge.functions import arrays
from graphprune.torch_bridge.modules import Projection
from graphprune.torch_bridge.rules import CONTRIB, Site, rule
from graphprune.torch_bridge.weights import is_named, module_path


@rule("MatMul")
def matmul(site: Site) -> fx.Node:
    """``x (..., K)`` times a constant ``(K, N)`` is a dense layer; a bias added right behind becomes its own."""
    if not site.is_weight(1, 2) or site.is_constant(0):
        return site.call(torch.matmul, *site.tensors())
    return _dense(site, site.node.inputs[1], _following_bias(site, site.dims(1)[1]), is_outputs_first=False)


@rule("Gemm")
def gemm(site: Site) -> fx.Node:
    """``alpha A B + beta C``: a dense layer where B and C are a constant matrix and vector and nothing is scaled."""
    is_plain = site.attr("alpha", 1.0) == 1.0 and site.attr("beta", 1.0) == 1.0 and not site.attr("transA", 0)
    is_outputs_first = bool(site.attr("transB", 0))
    if is_plain and site.is_weight(1, 2) and not site.is_constant(0):
        outputs = site.dims(1)[0 if is_outputs_first else 1]
        if not site.has(2) or (site.is_weight(2, 1) and site.dims(2) == (outputs,)):
            bias = site.node.inputs[2] if site.has(2) else None
            return _dense(site, site.node.inputs[1], bias, is_outputs_first=is_outputs_first)
    c = site.tensor(2) if site.has(2) else None
    return site.call(
        arrays.gemm, site.tensor(0), site.tensor(1), c,
        site.attr("alpha", 1.0), site.attr("beta", 1.0), bool(site.attr("transA", 0)), is_outputs_first,
    )  # fmt: skip


@rule("FusedMatMul", domain=CONTRIB)
def fused_matmul(site: Site) -> fx.Node:
    """A product with transposed sides, scaled."""
    one, other = site.tensors()
    if site.attr("transBatchA", 0) or site.attr("transBatchB", 0):
        site.refuse("it moves the batch axes")
    one = site.call(torch.transpose, one, -1, -2) if site.attr("transA", 0) else one
    other = site.call(torch.transpose, other, -1, -2) if site.attr("transB", 0) else other
    return site.call(torch.mul, site.call(torch.matmul, one, other), site.attr("alpha", 1.0))


@rule("Einsum")
def einsum(site: Site) -> fx.Node:
    """Einstein's sum, in torch's own words for it."""
    return site.call(torch.einsum, site.attr("equation"), *site.tensors())


def _dense(site: Site, weight: gs.Constant, bias: gs.Constant | None, *, is_outputs_first: bool) -> fx.Node:
    """A Linear, or a Projection for a weight that its author, or another reader, keeps the other way round."""
    builder = site.builder
    rows, columns = constant_dims(weight)
    tie = builder.tied(weight) if not is_outputs_first else None
    keeps = (weight.name, "same") in builder.parameters or is_named(weight.name)
    is_projection = not is_outputs_first and keeps and tie is None
    layout = "transposed" if not is_outputs_first and not is_projection else "same"
    inputs, outputs = (columns, rows) if is_outputs_first else (rows, columns)
    path = _path(site, weight, bias)

    def place() -> str:
        module: nn.Module
        if is_projection:
            module = Projection(inputs, outputs, bias=bias is not None)
        else:
            module = nn.Linear(inputs, outputs, bias=bias is not None, device="meta")
        if tie is not None:
            builder.tie(weight, layout, tie)
        (parameter,) = builder.weight(weight, layout)
        module.register_parameter("weight", parameter)
        if bias is not None:
            module.register_parameter("bias", builder.weight(bias)[0])
        where = builder.tree.add_module(path, module)
        builder.member(where, weight, ["weight"], layout)
        if bias is not None:
            builder.member(where, bias, ["bias"])
            if not is_named(weight.name) and is_named(bias.name) and bias.name.endswith("_bias"):
                builder.aliases.append(
                    (bias.name[: -len("bias")] + "weight", parameter)
                )  # in_proj_bias, in_proj_weight
        return where

    identity = "dense", weight.name, bias.name if bias is not None else "", layout
    return builder.graph.call_module(builder.reuse(identity, place), (site.tensor(0),))


def _path(site: Site, weight: gs.Constant, bias: gs.Constant | None) -> str:
    found = module_path(weight.name, "weight")
    if not found and bias is not None:
        found = module_path(bias.name, "bias")
        if not found and is_named(bias.name) and bias.name.endswith("_bias"):
            found = bias.name[: -len("_bias")]
    if not found and is_named(weight.name):
        return str(weight.name.rpartition(".")[0] or weight.name)
    return found or site.builder.layer_path(site.node.name)


def _following_bias(site: Site, outputs: int) -> gs.Constant | None:
    """The vector that the only reader adds; that node is done with this one."""
    result = site.node.outputs[0]
    readers = list(result.outputs)
    if len(readers) != 1 or result.name in site.builder.view.outputs or readers[0].op != "Add":
        return None
    if result.name in site.builder.view.read_by_subgraphs:
        return None
    add = Site(readers[0], site.builder, site.opset)
    place = next((index for index in (0, 1) if readers[0].inputs[index] is not result), None)
    if place is None or not add.is_weight(place, 1) or add.dims(place) != (outputs,):
        return None
    bias: gs.Constant = readers[0].inputs[place]
    site.builder.absorbed[readers[0].outputs[0].name] = result.name
    return bias
