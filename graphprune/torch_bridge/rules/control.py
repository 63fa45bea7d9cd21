"""Branches whose condition the sizes decide, and constants inside them."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from graphprune.torch_bridge.rules import NodeConversion, rule
from graphprune.torch_bridge.values import Value, numbers
from graphprune.torch_bridge.walk import convert_nodes


@rule("If")
def if_(node: NodeConversion) -> list[Value]:
    """Only the branch that is taken; exporters ask so for the number of axes. Refused where the data decide."""
    condition = node.array(0)
    if condition is None:
        node.refuse("its condition depends on the data", "export the model with fixed sizes, or without the branch")
    branch: gs.Graph = node.attr("then_branch" if bool(np.ravel(condition)[0]) else "else_branch")
    convert_nodes(node.conversion, branch.nodes, {"": node.opset})
    return [
        node.conversion.buffer(tensor)
        if isinstance(tensor, gs.Constant)
        else node.conversion.tensors.values[tensor.name]
        for tensor in branch.outputs
    ]


@rule("Loop", "Scan", "SequenceAt", "SequenceConstruct")
def loop(node: NodeConversion) -> list[Value]:
    """Refused: torch.fx has no loops."""
    node.refuse("it repeats a part of the graph", "export the model with the loop unrolled")


@rule("Constant")
def constant(node: NodeConversion) -> Value:
    """Inside a branch; elsewhere constants were folded on loading."""
    value = next(iter(node.node.attrs.values()))
    array = value.values if isinstance(value, gs.Constant) else np.asarray(value)
    if array.dtype.kind in "iub":
        return numbers(array)
    return node.conversion.buffer(gs.Constant(node.outputs[0].name, np.asarray(array, dtype=np.float32)))
