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
from graphprune.torch_bridge.rules import CONTRIB, Site, rule

_UNARY: Mapping[str, Callable[..., Any]] = {
    "Abs": torch.abs, "Acos": torch.acos, "Acosh": torch.acosh, "Asin": torch.asin, "Asinh": torch.asinh,
    "Atan": torch.atan, "Atanh": torch.atanh, "BitwiseNot": torch.bitwise_not, "Ceil": torch.ceil, "Cos": torch.cos,
    "Cosh": torch.cosh, "Erf": torch.erf, "Exp": torch.exp, "Floor": torch.floor, "HardSwish": functional.hardswish,
    "IsNaN": torch.isnan, "Log": torch.log, "Mish": functional.mish, "Neg": torch.neg, "Not": torch.logical_not,
    "Reciprocal": torch.reciprocal, "Relu": functional.relu, "Round": torch.round, "Sigmoid": torch.sigmoid,
    "Sign": torch.sign, "Sin": torch.sin, "Sinh": torch.sinh, "Softplus": functional.softplus,
    "Softsign": functional.softsign, "Sqrt": torch.sqrt, "Tan": torch.tan, "Tanh": torch.tanh,
}  # fmt: skip
_BINARY: Mapping[str, Callable[..., Any]] = {
    "Add": operator.add, "Sub": operator.sub, "Mul": operator.mul, "Div": arrays.divide, "Equal": operator.eq,
    "Less": operator.lt, "LessOrEqual": operator.le, "Greater": operator.gt, "GreaterOrEqual": operator.ge,
    "Pow": arrays.power,
}  # fmt: skip
_LOGIC: Mapping[str, Callable[..., Any]] = {
    "And": torch.logical_and, "Or": torch.logical_or, "Xor": torch.logical_xor, "BitwiseAnd": torch.bitwise_and,
    "BitwiseOr": torch.bitwise_or, "BitwiseXor": torch.bitwise_xor,
}  # fmt: skip


@rule(*_UNARY)
def unary(site: Site) -> fx.Node:
    """One tensor, element by element."""
    return site.call(_UNARY[site.node.op], site.tensor(0))


@rule(*_BINARY)
def binary(site: Site) -> fx.Node:
    """Two tensors that broadcast, or a tensor and a number."""
    one, other = _pair(site)
    is_true_division = site.node.op == "Div" and site.dtype(0) in (torch.float32, torch.float64, torch.float16)
    function = operator.truediv if is_true_division else _BINARY[site.node.op]
    return site.call(function, one, other)


@rule(*_LOGIC)
def logic(site: Site) -> fx.Node:
    """Two tensors that broadcast."""
    return site.call(_LOGIC[site.node.op], site.tensor(0), site.tensor(1))


@rule("Mod")
def mod(site: Site) -> fx.Node:
    """The remainder has the sign of the divisor, with ``fmod`` that of the dividend."""
    one, other = _pair(site)
    return site.call(torch.fmod if site.attr("fmod", 0) else torch.remainder, one, other)


def _pair(site: Site) -> tuple[Any, Any]:
    """Both operands, of which at least one must be a tensor."""
    one, other = site.operand(0), site.operand(1)
    if not _is_tensor(site, 0) and not _is_tensor(site, 1):
        one = site.tensor(0)
    return one, other


def _is_tensor(site: Site, operand: int) -> bool:
    return not site.is_constant(operand) and not site.is_numbers(operand)


@rule("Max", "Min")
def extreme(site: Site) -> fx.Node:
    """The largest, or smallest, of any number of tensors."""
    operands = [site.operand(index) for index in range(len(site.node.inputs))]
    if not any(_is_tensor(site, index) for index in range(len(operands))):
        operands[0] = site.tensor(0)
    return site.call(arrays.extreme, operands, site.node.op == "Max") if len(operands) > 1 else operands[0]


@rule("Sum", "Mean")
def total(site: Site) -> fx.Node:
    """The sum, or mean, of any number of tensors."""
    terms = site.tensors()
    result = terms[0]
    for term in terms[1:]:
        result = site.call(operator.add, result, term)
    return site.call(operator.truediv, result, len(terms)) if site.node.op == "Mean" else result


@rule("Where")
def where(site: Site) -> fx.Node:
    """One or the other, by a condition."""
    return site.call(arrays.select, site.tensor(0), site.operand(1), site.operand(2), site.dtype(1))


@rule("Clip", since=11)
def clip(site: Site) -> fx.Node:
    """Between two numbers."""
    low = site.operand(1) if site.has(1) else None
    high = site.operand(2) if site.has(2) else None
    return site.call(arrays.clip, site.tensor(0), low, high)


@rule("Cast")
def cast(site: Site) -> fx.Node:
    """To another type."""
    return site.call(arrays.cast, site.tensor(0), torch_dtype(site.attr("to"), f"node '{site.node.name}'"))


@rule("CastLike")
def cast_like(site: Site) -> fx.Node:
    """To the type of another tensor."""
    return site.call(torch.Tensor.type_as, site.tensor(0), site.tensor(1))


@rule("Identity", "Dropout")
def identity(site: Site) -> fx.Node:
    """Nothing; what drops in training only was exported for inference."""
    if site.is_read(1):
        site.refuse("the mask of Dropout is read", "export the model in eval mode")
    return site.tensor(0)


@rule("LeakyRelu")
def leaky_relu(site: Site) -> fx.Node:
    """A small slope below zero."""
    return site.call(functional.leaky_relu, site.tensor(0), site.attr("alpha", 0.01))


@rule("Elu")
def elu(site: Site) -> fx.Node:
    """Exponential below zero."""
    return site.call(functional.elu, site.tensor(0), site.attr("alpha", 1.0))


@rule("Celu")
def celu(site: Site) -> fx.Node:
    """Exponential below zero, smooth at it."""
    return site.call(functional.celu, site.tensor(0), site.attr("alpha", 1.0))


@rule("Selu")
def selu(site: Site) -> fx.Node:
    """Torch has the constants of the paper; others are written out."""
    alpha, gamma = site.attr("alpha", 1.67326319), site.attr("gamma", 1.05070102)
    if abs(alpha - 1.67326324) < 1e-6 and abs(gamma - 1.05070099) < 1e-6:
        return site.call(functional.selu, site.tensor(0))
    return site.call(operator.mul, site.call(functional.elu, site.tensor(0), alpha), gamma)


@rule("Gelu")
def gelu(site: Site) -> fx.Node:
    """By the error function, or by tanh."""
    return site.call(functional.gelu, site.tensor(0), approximate=site.attr("approximate", "none"))


@rule("Gelu", domain=CONTRIB)
def contrib_gelu(site: Site) -> fx.Node:
    """By the error function."""
    return site.call(functional.gelu, site.tensor(0))


@rule("FastGelu", domain=CONTRIB)
def fast_gelu(site: Site) -> fx.Node:
    """By tanh, behind a bias."""
    x = site.call(operator.add, site.tensor(0), site.tensor(1)) if site.has(1) else site.tensor(0)
    return site.call(functional.gelu, x, approximate="tanh")


@rule("BiasGelu", domain=CONTRIB)
def bias_gelu(site: Site) -> fx.Node:
    """By the error function, behind a bias."""
    return site.call(functional.gelu, site.call(operator.add, site.tensor(0), site.tensor(1)))


@rule("Swish")
@rule("QuickGelu", domain=CONTRIB)
def swish(site: Site) -> fx.Node:
    """``x sigmoid(alpha x)``."""
    x = site.tensor(0)
    default = 1.702 if site.node.op == "QuickGelu" else 1.0
    gate = site.call(torch.sigmoid, site.call(operator.mul, x, site.attr("alpha", default)))
    return site.call(operator.mul, x, gate)


@rule("HardSigmoid")
def hard_sigmoid(site: Site) -> fx.Node:
    """A ramp."""
    return site.call(arrays.hard_sigmoid, site.tensor(0), site.attr("alpha", 0.2), site.attr("beta", 0.5))


@rule("Shrink")
def shrink(site: Site) -> fx.Node:
    """Towards zero."""
    return site.call(arrays.shrink, site.tensor(0), site.attr("lambd", 0.5), site.attr("bias", 0.0))


@rule("ThresholdedRelu")
def thresholded(site: Site) -> fx.Node:
    """Zero up to a threshold."""
    return site.call(arrays.thresholded, site.tensor(0), site.attr("alpha", 1.0))


@rule("IsInf")
def is_inf(site: Site) -> fx.Node:
    """Either infinity, or one of them."""
    if not site.attr("detect_negative", 1):
        return site.call(torch.isposinf, site.tensor(0))
    return site.call(torch.isneginf if not site.attr("detect_positive", 1) else torch.isinf, site.tensor(0))


@rule("BitShift")
def bit_shift(site: Site) -> fx.Node:
    """To the left, or to the right."""
    is_left = site.attr("direction") == "LEFT"
    return site.call(operator.lshift if is_left else operator.rshift, site.tensor(0), site.tensor(1))


@rule("PRelu")
def prelu(site: Site) -> fx.Node:
    """The slope of a layer is one per channel, or one; any other shape broadcasts."""
    dims = site.dims(1) if site.is_weight(1) else ()
    count = max(dims, default=1)
    is_layer = bool(dims) and (count == 1 or (len(dims) == site.rank(0) - 1 and dims[0] == count))
    if not is_layer or any(dim != 1 for dim in dims[1:]):
        x, slope = site.tensor(0), site.tensor(1)
        return site.call(torch.where, site.call(operator.gt, x, 0), x, site.call(operator.mul, x, slope))
    constant = site.node.inputs[1]

    def place() -> str:
        module = nn.PReLU(count)
        (parameter,) = site.builder.weight(constant, "flat" if len(dims) > 1 else "same")
        module.register_parameter("weight", parameter)
        where = site.builder.tree.add_module(site.path(weight=1), module)
        site.builder.member(where, constant, ["weight"], "flat" if len(dims) > 1 else "same")
        return where

    return site.builder.graph.call_module(site.builder.reuse(("PRelu", constant.name), place), (site.tensor(0),))
