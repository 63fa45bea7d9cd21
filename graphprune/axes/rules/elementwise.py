"""Operators that work index by index, with broadcasting."""

from __future__ import annotations

from graphprune.axes.algebra import ONE, Axes, Axis, size_of
from graphprune.axes.picking import is_chosen_from
from graphprune.axes.rules import CONTRIB, NodeTyping, require, rule

_OPS = [
    "Abs",
    "Acos",
    "Acosh",
    "Add",
    "And",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "BitShift",
    "BitwiseAnd",
    "BitwiseNot",
    "BitwiseOr",
    "BitwiseXor",
    "Cast",
    "Ceil",
    "Celu",
    "Clip",
    "Cos",
    "Cosh",
    "Div",
    "Elu",
    "Equal",
    "Erf",
    "Exp",
    "Floor",
    "Gelu",
    "Greater",
    "GreaterOrEqual",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "IsInf",
    "IsNaN",
    "LeakyRelu",
    "Less",
    "LessOrEqual",
    "Log",
    "Max",
    "Mean",
    "Min",
    "Mish",
    "Mod",
    "Mul",
    "Neg",
    "Not",
    "Or",
    "PRelu",
    "Pow",
    "Reciprocal",
    "Relu",
    "Round",
    "Selu",
    "Shrink",
    "Sigmoid",
    "Sign",
    "Sin",
    "Sinh",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Sub",
    "Sum",
    "Swish",
    "Tan",
    "Tanh",
    "ThresholdedRelu",
    "Where",
    "Xor",
]


def broadcast(node: NodeTyping, shapes: list[Axes]) -> Axes:
    """The axes of a broadcast; every axis that has the output's size is the same axis."""
    rank = max(map(len, shapes))
    result: list[Axis] = []
    for index in range(-rank, 0):
        present = [axes[index] for axes in shapes if -index <= len(axes)]
        size = next((size_of(axis) for axis in present if size_of(axis) != 1), 1)
        full = [axis for axis in present if size_of(axis) == size]
        for axis in full[1:]:
            node.unify(full[0], axis)
        result.append(full[0] if size != 1 else ONE)
    return tuple(result)


@rule(*_OPS)
def elementwise(node: NodeTyping) -> list[Axes] | None:
    """Unary, binary and variadic operators."""
    return [broadcast(node, [require(node.axes(i)) for i in range(len(node.inputs)) if node.has(i)])]


@rule("BiasGelu", "FastGelu", "Gelu", "QuickGelu", domain=CONTRIB)
def contrib_activation(node: NodeTyping) -> list[Axes] | None:
    """ONNX Runtime's fused activations; the bias, if any, lies along the last axis."""
    return elementwise(node)


@rule("Dropout")
def dropout(node: NodeTyping) -> list[Axes] | None:
    """Data and mask have the shape of the input; in training the random mask depends on the whole extent."""
    training = node.value(2)
    if node.has(2) and (training is None or training.any()):
        return None
    axes = require(node.axes(0))
    return [axes, axes]


@rule("CastLike")
def like_first(node: NodeTyping) -> list[Axes] | None:
    """The second input lends its type only."""
    return [require(node.axes(0))]


@rule("Trilu", "CumSum", "Hardmax", "Softmax", "LogSoftmax", "LpNormalization", "LRN", "ReverseSequence")
def along_axes(node: NodeTyping) -> list[Axes] | None:
    """Same shape as the input; the axes that are computed over are frozen."""
    axes = require(node.axes(0))
    rank, op = len(axes), node.op
    if op in ("Softmax", "LogSoftmax") and node.attr("axis", -1) % rank == rank - 1 and is_chosen_from(node.node):
        node.choose(0, rank - 1)
        return [axes]
    if op == "Trilu":
        over = list(range(rank)[-2:])
    elif op == "CumSum":
        over = [require(node.ints(1))[0] % rank]
    elif op == "LRN":
        over = [1]
    elif op == "ReverseSequence":
        over = [0, 1]
    elif op in ("Softmax", "LogSoftmax", "Hardmax") and node.opset < 13:
        over = list(range(node.attr("axis", 1) % rank, rank))  # it flattened everything from there on
    else:
        over = [node.attr("axis", -1) % rank]
    node.freeze_all([axes[index] for index in over], f"{op} runs over it")
    return [axes]
