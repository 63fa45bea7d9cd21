"""Sizes that the graph works out: multiplied by what is left of their axis, or given as they were to who computes
with them; without a node more than there was, where a constant takes part that can do it.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from graphprune.ir.bodies import scopes
from graphprune.ir.free_names import free_name, names_in
from graphprune.ir.model import Model, read_values
from graphprune.rewrite.weights import new_constant

_PASS_ON = ("Unsqueeze", "Squeeze", "Reshape", "Cast", "Identity")


def scaled(model: Model, reader: gs.Node, size: gs.Tensor, share: Fraction) -> gs.Tensor:
    """``size``, of which the denominator of ``share`` is a divisor, times ``share``, in the graph of ``reader``."""
    known = model.derived(_scaled_so_far)
    key = id(model.derived(graphs)[reader.name]), size.name, share
    if key not in known:
        known[key] = _multiplied(model, reader, size, share) or _by_two_nodes(model, reader, size, share)
    return known[key]


def restore(model: Model, node: gs.Node, operand: int, share: Fraction) -> None:
    """Let ``node`` compute with what the size it reads was before ``share`` of it was left."""
    if share == 1:
        return
    divisor = node.inputs[1] if node.op == "Div" and not operand else None
    if isinstance(divisor, gs.Constant) and divisor.values.size == 1:
        number = _number(model, divisor) * share
        if number.denominator == 1:  # the quotient is the same
            node.inputs[1] = _like(model, divisor, int(number))
            return
    node.inputs[operand] = scaled(model, node, node.inputs[operand], 1 / share)


def _multiplied(model: Model, reader: gs.Node, size: gs.Tensor, share: Fraction) -> gs.Tensor | None:
    """By another factor, where ``size`` is a product with a constant."""
    way: list[gs.Node] = []
    node = size.inputs[0] if size.inputs else None
    while node is not None and node.op in _PASS_ON:
        way.append(node)
        node = node.inputs[0].inputs[0] if node.inputs[0].inputs else None
    if node is None or node.op != "Mul":
        return None
    for index, factor in enumerate(node.inputs):
        if isinstance(factor, gs.Constant) and factor.values.size == 1:
            number = _number(model, factor) * share
            if number.denominator == 1:
                inputs = list(node.inputs)
                inputs[index] = _like(model, factor, int(number))
                made: gs.Tensor = _again(model, reader, node, inputs)
                for step in way[::-1]:
                    made = _again(model, reader, step, [made, *step.inputs[1:]])
                return made
    return None


def _by_two_nodes(model: Model, reader: gs.Node, size: gs.Tensor, share: Fraction) -> gs.Tensor:
    kind = model.dtypes.get(size.name, onnx.TensorProto.INT64)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind)
    for op, number in (("Mul", share.numerator), ("Div", share.denominator)):
        label = free_name(f"{size.name}/{op.lower()}", model.derived(names_in))
        by = new_constant(free_name(f"{label}/by", model.derived(names_in)), np.array(number, dtype))
        size = append(model, reader, op, label, {}, [size, by], kind)
    return size


def _again(model: Model, reader: gs.Node, node: gs.Node, inputs: list[gs.Tensor]) -> gs.Variable:
    """Another ``node``, with other inputs."""
    kind = model.dtypes.get(node.outputs[0].name, onnx.TensorProto.INT64)
    return append(model, reader, node.op, f"{node.name}/left", dict(node.attrs), inputs, kind)


def _number(model: Model, constant: gs.Constant) -> Fraction:
    return Fraction(int(np.ravel(read_values(constant, model.folder))[0]))


def _like(model: Model, constant: gs.Constant, number: int) -> gs.Constant:
    values = np.full_like(read_values(constant, model.folder), number)
    return new_constant(free_name(f"{constant.name}/left", model.derived(names_in)), values)


def append(
    model: Model, reader: gs.Node, op: str, label: str, attributes: dict[str, int], inputs: list[gs.Tensor], kind: int
) -> gs.Variable:
    """A new node in the graph of ``reader``, and what it writes."""
    taken = model.derived(names_in)
    label = free_name(label, taken)
    result = gs.Variable(free_name(f"{label}/out", taken), dtype=onnx.helper.tensor_dtype_to_np_dtype(kind))
    model.derived(graphs)[reader.name].nodes.append(gs.Node(op, label, attributes, inputs=inputs, outputs=[result]))
    model.dtypes[result.name] = kind
    return result


def graphs(model: Model) -> dict[str, gs.Graph]:
    """Name of a node -> the graph or body that it lies in."""
    return {node.name: scope for scope in scopes(model.graph) for node in scope.nodes}


def _scaled_so_far(model: Model) -> dict[tuple[int, str, Fraction], gs.Tensor]:
    """A graph, a size and a share -> the size times the share: none, at first."""
    return {}
