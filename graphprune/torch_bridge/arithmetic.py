"""Sizes in the graph under construction: what ONNX computes from them,
done while the module is built where it can be.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from torch import fx

from graphprune.ir.size_arithmetic import OPERATORS, evaluate, picked_dims
from graphprune.torch_bridge.functions.numbers import choose, divide, is_true
from graphprune.torch_bridge.node_conversion import NodeConversion
from graphprune.torch_bridge.values import Number, Numbers, known, numbers

_LIMIT = 256
"""Elements; a longer array is data, not a list of sizes."""

_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mul": operator.mul,
    "Div": divide,
    "Mod": operator.mod,
    "Pow": operator.pow,
    "Max": torch.sym_max,
    "Min": torch.sym_min,
    "Equal": operator.eq,
    "Less": operator.lt,
    "LessOrEqual": operator.le,
    "Greater": operator.gt,
    "GreaterOrEqual": operator.ge,
    "And": operator.and_,
    "Or": operator.or_,
    "Neg": operator.neg,
    "Abs": operator.abs,
    "Floor": math.floor,
    "Ceil": math.ceil,
    "Sqrt": math.sqrt,
    "Not": operator.not_,
}
_GROWING = ("Add", "Mul", "Max", "Div")
_NEUTRAL = {"Mul": 1, "Add": 0}
_FLOATS = {onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16}


def fold_numbers(node: NodeConversion) -> list[Numbers] | None:
    """The outputs of a node that reads nothing but numbers and small constants; None where that is not so."""
    if node.op in ("Shape", "Size"):
        return _shape(node)
    operands = [index for index in range(len(node.inputs)) if node.has(index)]
    if node.op not in OPERATORS:
        return None
    if not any(map(node.is_numbers, operands)) and not (node.op == "ConstantOfShape" and operands):
        return None
    if not all(_is_small(node, index) for index in operands):
        return None
    values = [node.numbers(index) if node.has(index) else None for index in range(len(node.inputs))]
    return evaluate(node, values, GraphNumbers(node))


def _is_small(node: NodeConversion, operand: int) -> bool:
    if node.is_constant(operand):
        return int(np.prod(node.dims(operand), dtype=int)) <= _LIMIT and _is_plain(node, operand)
    return node.is_numbers(operand)


def _is_plain(node: NodeConversion, operand: int) -> bool:
    dtype = node.dtype(operand)
    return dtype is not None and not dtype.is_complex


def _shape(node: NodeConversion) -> list[Numbers] | None:
    """The sizes of a tensor: numbers where they are fixed."""
    shape = node.shape(0)
    if shape is None:
        return None
    dims = [node.size(0, axis) for axis in range(len(shape))]
    if node.op == "Size":
        return [GraphNumbers(node).reduce("Mul", numbers([1, *dims]))]
    return [numbers([dims[axis] for axis in picked_dims(node, len(dims))])]


@dataclass(frozen=True)
class GraphNumbers:
    """The :class:`graphprune.ir.size_arithmetic.NumberDomain` of Python numbers and of graph nodes that give one each.

    What is computed of known numbers is known at once; of others it becomes a call in the graph.
    ``node`` is the one whose outputs are computed.
    """

    node: NodeConversion

    def known(self, values: Numbers) -> np.ndarray | None:
        """The values, if none of them depends on the input."""
        return values if known(values) else None

    def elementwise(self, op: str, values: Sequence[Numbers]) -> Numbers:
        """Number by number."""
        spread = np.broadcast_arrays(*values)
        rows = zip(*(array.reshape(-1) for array in spread), strict=True)
        found = [self._where(*row) if op == "Where" else self._apply(op, row) for row in rows]
        return numbers(found, spread[0].shape)

    def reduce(self, op: str, values: Numbers) -> Numbers:
        """From the first to the last."""
        total = values[0]
        for value in values[1:]:
            total = self._apply(op, (total, value))
        return numbers(total)

    def cast(self, values: Numbers, kind: int) -> Numbers:
        """Sizes are integers already, and cost nothing to cast to one."""
        return numbers([self._cast(value, kind) for value in values.reshape(-1)], values.shape)

    def filled(self, shape: tuple[int, ...], value: np.ndarray) -> Numbers | None:
        """Few elements only, and no floats: those are data."""
        if math.prod(shape) > _LIMIT or value.dtype.kind not in "iub":
            return None
        return numbers(np.full(shape, value.reshape(-1)[0]))

    def range(self, start: Numbers, stop: Numbers, step: Numbers) -> Numbers | None:
        """Few elements only, between known ends."""
        if not all(map(known, (start, stop, step))):
            return None
        found = np.arange(start.item(), stop.item(), step.item())
        return numbers(found) if found.size <= _LIMIT else None

    def _apply(self, op: str, values: tuple[Number, ...]) -> Number:
        """One number from others: now, if all are known."""
        function, positive = _FUNCTIONS[op], self.node.conversion.tensors.positive
        fixed = [value for value in values if not isinstance(value, fx.Node)]
        if len(fixed) == len(values):
            return function(*values)
        if op == "Equal" and self._never_equal(values):
            return False
        if op in _NEUTRAL and _NEUTRAL[op] in fixed:
            return values[1] if not isinstance(values[0], fx.Node) else values[0]
        is_positive = all(value in positive if isinstance(value, fx.Node) else value >= 0 for value in values)
        if op == "Div" and is_positive and self._has_ints():
            function = operator.floordiv
        node = self.node.call(function, *values)
        if op in _GROWING and is_positive:
            positive.add(node)
        return node

    def _never_equal(self, values: tuple[Number, ...]) -> bool:
        """No size is -1, the number that exporters ask for."""
        positive = self.node.conversion.tensors.positive
        is_size = any(isinstance(value, fx.Node) and value in positive for value in values)
        return is_size and any(not isinstance(value, fx.Node) and value < 0 for value in values)

    def _has_ints(self) -> bool:
        dtype = self.node.dtype(0)
        return dtype is not None and not dtype.is_floating_point

    def _where(self, condition: Number, one: Number, other: Number) -> Number:
        if isinstance(condition, fx.Node):
            return one if one is other else self.node.call(choose, condition, one, other)
        return one if condition else other

    def _cast(self, value: Number, kind: int) -> Number:
        if kind == onnx.TensorProto.BOOL:
            return bool(value) if not isinstance(value, fx.Node) else self.node.call(is_true, value)
        becomes_float = kind in _FLOATS
        if not isinstance(value, fx.Node):
            return float(value) if becomes_float else int(value)
        dtype, tensors = self.node.dtype(0), self.node.conversion.tensors
        if dtype is not None and dtype.is_floating_point == becomes_float:
            return value
        node = self.node.call(torch.sym_float if becomes_float else torch.sym_int, value)
        if value in tensors.positive:
            tensors.positive.add(node)
        return node
