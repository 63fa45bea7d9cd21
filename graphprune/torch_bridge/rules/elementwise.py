"""Functions of single elements, and of elements at the same place."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from graphprune.torch_bridge.dtypes import torch_dtype
from graphprune.torch_bridge.functions import arrays
from graphprune.torch_bridge.rules import CONTRIB, NodeConversion, rule

_UNARY: Mapping[str, Callable[..., Any]] = {
    "Abs": torch.abs, "Acos": torch.acos, "Acosh": torch.acosh, "Asin": torch.asin, "Asinh": torch.asinh,
    "Atan": torch.atan, "Atanh": torch.atanh, "BitwiseNot": torch.bitwise_not, "Ceil": torch.ceil, "Cos": torch.cos,
    "Cosh": torch.cosh, "Erf": torch.erf, "Exp": torch.exp, "Floor": torch.floor, "HardSwish": functional.hardswish,
    "IsNaN": torch.isnan, "Log": torch.log, "Mish": functional.mish, "Neg": torch.neg, "Not": torch.logical_not,
    "Reciprocal": torch.reciprocal, "Relu": functional.relu, "Round": torch.round, "Sigmoid": torch.sigmoid,
    "Sign": torch.sign, "Sin": torch.sin, "Sinh": torch.sinh, "Softplus": functional.softplus,
    "Softsign": functional.softsign, "Sqrt": torch.sqrt, "Tan": torch.tan, "Tanh": torch.tanh,
}  # fmt: skip  # a table, a row a line
_BINARY: Mapping[str, Callable[..., Any]] = {
    "Add": operator.add, "Sub": operator.sub, "Mul": operator.mul, "Div": arrays.divide, "Equal": operator.eq,
    "Less": operator.lt, "LessOrEqual": operator.le, "Greater": operator.gt, "GreaterOrEqual": operator.ge,
    "Pow": arrays.power,
}  # fmt: skip  # a table, a row a line
_LOGIC: Mapping[str, Callable[..., Any]] = {
    "And": torch.logical_and, "Or": torch.logical_or, "Xor": torch.logical_xor, "BitwiseAnd": torch.bitwise_and,
    "BitwiseOr": torch.bitwise_or, "BitwiseXor": torch.bitwise_xor,
}  # fmt: skip  # a table, a row a line


@rule(*_UNARY)
def unary(node: NodeConversion) -> fx.Node:
    """One tensor, element by element."""
    return node.call(_UNARY[node.op], node.tensor(0))


@rule(*_BINARY)
def binary(node: NodeConversion) -> fx.Node:
    """Two tensors that broadcast, or a tensor and a number."""
    one, other = _pair(node)
    is_true_division = node.op == "Div" and node.dtype(0) in (torch.float32, torch.float64, torch.float16)
    function = operator.truediv if is_true_division else _BINARY[node.op]
    return node.call(function, one, other)


@rule(*_LOGIC)
def logic(node: NodeConversion) -> fx.Node:
    """Two tensors that broadcast."""
    return node.call(_LOGIC[node.op], node.tensor(0), node.tensor(1))


@rule("Mod")
def mod(node: NodeConversion) -> fx.Node:
    """The remainder has the sign of the divisor, with ``fmod`` that of the dividend."""
    one, other = _pair(node)
    return node.call(torch.fmod if node.attr("fmod", 0) else torch.remainder, one, other)


def _pair(node: NodeConversion) -> tuple[Any, Any]:
    """Both operands, of which at least one must be a tensor."""
    one, other = node.operand(0), node.operand(1)
    if not _is_tensor(node, 0) and not _is_tensor(node, 1):
        one = node.tensor(0)
    return one, other


def _is_tensor(node: NodeConversion, operand: int) -> bool:
    return not node.is_constant(operand) and not node.is_numbers(operand)


@rule("Max", "Min")
def extreme(node: NodeConversion) -> fx.Node:
    """The largest, or smallest, of any number of tensors."""
    operands = [node.operand(index) for index in range(len(node.inputs))]
    if not any(_is_tensor(node, index) for index in range(len(operands))):
        operands[0] = node.tensor(0)
    return node.call(arrays.extreme, operands, node.op == "Max") if len(operands) > 1 else operands[0]


@rule("Sum", "Mean")
def total(node: NodeConversion) -> fx.Node:
    """The sum, or mean, of any number of tensors."""
    terms = node.tensors()
    result = terms[0]
    for term in terms[1:]:
        result = node.call(operator.add, result, term)
    return node.call(operator.truediv, result, len(terms)) if node.op == "Mean" else result


@rule("Where")
def where(node: NodeConversion) -> fx.Node:
    """One or the other, by a condition."""
    return node.call(arrays.select, node.tensor(0), node.operand(1), node.operand(2), node.dtype(1))


@rule("Clip", since=11)
def clip(node: NodeConversion) -> fx.Node:
    """Between two numbers."""
    low = node.operand(1) if node.has(1) else None
    high = node.operand(2) if node.has(2) else None
    return node.call(arrays.clip, node.tensor(0), low, high)


@rule("Cast")
def cast(node: NodeConversion) -> fx.Node:
    """To another type."""
    return node.call(arrays.cast, node.tensor(0), torch_dtype(node.attr("to"), f"node '{node.name}'"))


@rule("CastLike")
def cast_like(node: NodeConversion) -> fx.Node:
    """To the type of another tensor."""
    return node.call(torch.Tensor.type_as, node.tensor(0), node.tensor(1))


@rule("Identity", "Dropout")
def identity(node: NodeConversion) -> fx.Node:
    """Nothing; what drops in training only was exported for inference."""
    if node.is_read(1):
        node.refuse("the mask of Dropout is read", "export the model in eval mode")
    return node.tensor(0)


@rule("LeakyRelu")
def leaky_relu(node: NodeConversion) -> fx.Node:
    """A small slope below zero."""
    return node.call(functional.leaky_relu, node.tensor(0), node.attr("alpha", 0.01))


@rule("Elu")
def elu(node: NodeConversion) -> fx.Node:
    """Exponential below zero."""
    return node.call(functional.elu, node.tensor(0), node.attr("alpha", 1.0))


@rule("Celu")
def celu(node: NodeConversion) -> fx.Node:
    """Exponential below zero, smooth at it."""
    return node.call(functional.celu, node.tensor(0), node.attr("alpha", 1.0))


@rule("Selu")
def selu(node: NodeConversion) -> fx.Node:
    """Torch has the constants of the paper; others are written out."""
    alpha, gamma = node.attr("alpha", 1.67326319), node.attr("gamma", 1.05070102)
    if abs(alpha - 1.67326324) < 1e-6 and abs(gamma - 1.05070099) < 1e-6:
        return node.call(functional.selu, node.tensor(0))
    return node.call(operator.mul, node.call(functional.elu, node.tensor(0), alpha), gamma)


@rule("Gelu")
def gelu(node: NodeConversion) -> fx.Node:
    """By the error function, or by tanh."""
    return node.call(functional.gelu, node.tensor(0), approximate=node.attr("approximate", "none"))


@rule("Gelu", domain=CONTRIB)
def contrib_gelu(node: NodeConversion) -> fx.Node:
    """By the error function."""
    return node.call(functional.gelu, node.tensor(0))


@rule("FastGelu", domain=CONTRIB)
def fast_gelu(node: NodeConversion) -> fx.Node:
    """By tanh, behind a bias."""
    x = node.call(operator.add, node.tensor(0), node.tensor(1)) if node.has(1) else node.tensor(0)
    return node.call(functional.gelu, x, approximate="tanh")


@rule("BiasGelu", domain=CONTRIB)
def bias_gelu(node: NodeConversion) -> fx.Node:
    """By the error function, behind a bias."""
    return node.call(functional.gelu, node.call(operator.add, node.tensor(0), node.tensor(1)))


@rule("Swish")
@rule("QuickGelu", domain=CONTRIB)
def swish(node: NodeConversion) -> fx.Node:
    """``x sigmoid(alpha x)``."""
    x = node.tensor(0)
    default = 1.702 if node.op == "QuickGelu" else 1.0
    gate = node.call(torch.sigmoid, node.call(operator.mul, x, node.attr("alpha", default)))
    return node.call(operator.mul, x, gate)


@rule("HardSigmoid")
def hard_sigmoid(node: NodeConversion) -> fx.Node:
    """A ramp."""
    return node.call(arrays.hard_sigmoid, node.tensor(0), node.attr("alpha", 0.2), node.attr("beta", 0.5))


@rule("Shrink")
def shrink(node: NodeConversion) -> fx.Node:
    """Towards zero."""
    return node.call(arrays.shrink, node.tensor(0), node.attr("lambd", 0.5), node.attr("bias", 0.0))


@rule("ThresholdedRelu")
def thresholded(node: NodeConversion) -> fx.Node:
    """Zero up to a threshold."""
    return node.call(arrays.thresholded, node.tensor(0), node.attr("alpha", 1.0))


@rule("IsInf")
def is_inf(node: NodeConversion) -> fx.Node:
    """Either infinity, or one of them."""
    if not node.attr("detect_negative", 1):
        return node.call(torch.isposinf, node.tensor(0))
    return node.call(torch.isneginf if not node.attr("detect_positive", 1) else torch.isinf, node.tensor(0))


@rule("BitShift")
def bit_shift(node: NodeConversion) -> fx.Node:
    """To the left, or to the right."""
    is_left = node.attr("direction") == "LEFT"
    return node.call(operator.lshift if is_left else operator.rshift, node.tensor(0), node.tensor(1))


@rule("PRelu")
def prelu(node: NodeConversion) -> fx.Node:
    """The slope of a layer is one per channel, or one; any other shape broadcasts."""
    dims = node.dims(1) if node.is_weight(1) else ()
    count = max(dims, default=1)
    is_layer = bool(dims) and (count == 1 or (len(dims) == node.rank(0) - 1 and dims[0] == count))
    if not is_layer or any(dim != 1 for dim in dims[1:]):
        x, slope = node.tensor(0), node.tensor(1)
        return node.call(torch.where, node.call(operator.gt, x, 0), x, node.call(operator.mul, x, slope))
    constant = node.inputs[1]

    def place() -> str:
        module = nn.PReLU(count)
        (parameter,) = node.conversion.parameters.of(constant, "flat" if len(dims) > 1 else "same")
        module.register_parameter("weight", parameter)
        where = node.conversion.tree.add_module(node.path(weight=1), module)
        node.conversion.parameters.member(where, constant, ["weight"], "flat" if len(dims) > 1 else "same")
        return where

    return node.shared_module(("PRelu", constant.name), place, node.tensor(0))
