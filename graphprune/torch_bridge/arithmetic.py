"""Operators on numbers: what ONNX computes from sizes, done while the module is built where it can be."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import torch
from torch import fx

from graphprune.torch_bridge.functions.numbers import choose, divide
from graphprune.torch_bridge.rules import Site
from graphprune.torch_bridge.values import Number, Numbers, known, numbers

_LIMIT = 256
"""Elements; a longer array is data, not a list of sizes."""

_BINARY: Mapping[str, Callable[[Any, Any], Any]] = {
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
}
_UNARY: Mapping[str, Callable[[Any], Any]] = {
    "Neg": operator.neg,
    "Abs": operator.abs,
    "Floor": math.floor,
    "Ceil": math.ceil,
    "Sqrt": math.sqrt,
    "Not": operator.not_,
}
_FLOATS = {onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16}


def fold_numbers(site: Site) -> Numbers | list[Numbers] | None:
    """The outputs of a node that reads nothing but numbers and small constants; None where that is not so."""
    if site.node.op in ("Shape", "Size"):
        return _shape(site)
    operands = [index for index in range(len(site.node.inputs)) if site.has(index)]
    has_numbers = any(site.is_numbers(index) for index in operands)
    if not has_numbers and not (site.node.op == "ConstantOfShape" and operands):
        return None
    if not all(_is_small(site, index) for index in operands):
        return None
    op = site.node.op
    values = [site.numbers(index) for index in operands]
    if op in _BINARY:
        return _fold(site, _BINARY[op], values)
    if op in _UNARY:
        return _elementwise(site, _UNARY[op], values)
    handler = _OTHERS.get(op)
    return handler(site, values) if handler else None


def _is_small(site: Site, operand: int) -> bool:
    if site.is_constant(operand):
        return int(np.prod(site.dims(operand), dtype=int)) <= _LIMIT and _is_plain(site, operand)
    return site.is_numbers(operand)


def _is_plain(site: Site, operand: int) -> bool:
    dtype = site.dtype(operand)
    return dtype is not None and not dtype.is_complex


def _shape(site: Site) -> Numbers | None:
    """The sizes of a tensor: numbers where they are fixed."""
    shape = site.shape(0)
    if shape is None:
        return None
    dims = [site.size(0, axis) for axis in range(len(shape))]
    if site.node.op == "Size":
        total: Number = 1
        for dim in dims:
            total = _apply(site, operator.mul, (total, dim))
        return numbers(total)
    return numbers(dims[site.attr("start", 0) : site.attr("end")])


def _apply(site: Site, function: Callable[..., Any], values: tuple[Number, ...]) -> Number:
    """One number from others: now, if all are known."""
    if not any(isinstance(value, fx.Node) for value in values):
        return function(*values)
    positive = site.builder.positive
    grows = function in (operator.add, operator.mul, torch.sym_max, divide)
    is_positive = all(value in positive if isinstance(value, fx.Node) else value >= 0 for value in values)
    if function is operator.eq and _never_equal(site, values):
        return False
    if function is operator.mul and 1 in [value for value in values if not isinstance(value, fx.Node)]:
        return values[1] if not isinstance(values[0], fx.Node) else values[0]
    if function is operator.add and 0 in [value for value in values if not isinstance(value, fx.Node)]:
        return values[1] if not isinstance(values[0], fx.Node) else values[0]
    node = site.call(operator.floordiv if function is divide and is_positive and _are_ints(site) else function, *values)
    if grows and is_positive:
        positive.add(node)
    return node


def _never_equal(site: Site, values: tuple[Number, ...]) -> bool:
    """No size is -1, the number that exporters ask for."""
    is_size = any(isinstance(value, fx.Node) and value in site.builder.positive for value in values)
    return is_size and any(not isinstance(value, fx.Node) and value < 0 for value in values)


def _are_ints(site: Site) -> bool:
    dtype = site.dtype(0)
    return dtype is not None and not dtype.is_floating_point


def _elementwise(site: Site, function: Callable[..., Any], values: list[Numbers]) -> Numbers:
    spread = np.broadcast_arrays(*values)
    flat = [_apply(site, function, items) for items in zip(*(array.reshape(-1) for array in spread), strict=True)]
    return numbers(flat, spread[0].shape)


def _fold(site: Site, function: Callable[..., Any], values: list[Numbers]) -> Numbers:
    result = values[0]
    for value in values[1:]:
        result = _elementwise(site, function, [result, value])
    return result


def _where(site: Site, values: list[Numbers]) -> Numbers:
    def pick(condition: Number, one: Number, other: Number) -> Number:
        if isinstance(condition, fx.Node):
            return one if one is other else site.call(choose, condition, one, other)
        return one if condition else other

    spread = np.broadcast_arrays(*values)
    flat = [pick(*items) for items in zip(*(array.reshape(-1) for array in spread), strict=True)]
    return numbers(flat, spread[0].shape)


def _cast(site: Site, values: list[Numbers]) -> Numbers:
    kind = site.attr("to")
    if kind == onnx.TensorProto.BOOL:
        return _elementwise(site, bool, values) if known(values[0]) else _elementwise(site, _is_true, values)
    function = _to_float if kind in _FLOATS else _to_int
    return numbers([_convert(site, function, value) for value in values[0].reshape(-1)], values[0].shape)


def _convert(site: Site, function: Callable[[Any], Any], value: Number) -> Number:
    if not isinstance(value, fx.Node):
        return function(value)
    dtype = site.dtype(0)
    if function is _to_int and dtype is not None and not dtype.is_floating_point:
        return value
    if function is _to_float and dtype is not None and dtype.is_floating_point:
        return value
    node = site.call(torch.sym_float if function is _to_float else torch.sym_int, value)
    if value in site.builder.positive:
        site.builder.positive.add(node)
    return node


def _to_float(value: Any) -> float:
    return float(value)


def _to_int(value: Any) -> int:
    return int(value)


def _is_true(value: Any) -> bool:
    return bool(value != 0)


def _gather(site: Site, values: list[Numbers]) -> Numbers | None:
    if not known(values[1]):
        return None
    return _array(np.take(values[0], values[1].astype(np.int64), axis=site.attr("axis", 0)))


def _concat(site: Site, values: list[Numbers]) -> Numbers:
    return np.concatenate(values, axis=site.attr("axis"))


def _reshape(site: Site, values: list[Numbers]) -> Numbers | None:
    if not known(values[1]):
        return None
    target = [int(size) for size in values[1].reshape(-1)]
    if not site.attr("allowzero", 0):
        target = [values[0].shape[i] if size == 0 else size for i, size in enumerate(target)]
    return values[0].reshape(target)


def _axes(site: Site, values: list[Numbers]) -> list[int] | None:
    """The axes of Squeeze and Unsqueeze: an attribute up to opset 12, an input since."""
    if len(values) > 1:
        return [int(axis) for axis in values[1].reshape(-1)]
    axes: list[int] | None = site.attr("axes")
    return axes


def _squeeze(site: Site, values: list[Numbers]) -> Numbers:
    axes = _axes(site, values)
    return _array(np.squeeze(values[0], tuple(axes) if axes is not None else None))


def _unsqueeze(site: Site, values: list[Numbers]) -> Numbers:
    return _array(np.expand_dims(values[0], tuple(_axes(site, values) or ())))


def _slice(site: Site, values: list[Numbers]) -> Numbers | None:
    if not all(map(known, values[1:])):
        return None
    starts, ends, *rest = [[int(v) for v in value.reshape(-1)] for value in values[1:]]
    axes = rest[0] if rest else list(range(len(starts)))
    steps = rest[1] if len(rest) > 1 else [1] * len(starts)
    index = [slice(None)] * values[0].ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = values[0].shape[axis]
        index[axis] = slice(start, None if step < 0 and end < -size else end, step)
    return values[0][tuple(index)]


def _transpose(site: Site, values: list[Numbers]) -> Numbers:
    return np.transpose(values[0], site.attr("perm"))


def _expand(site: Site, values: list[Numbers]) -> Numbers | None:
    if not known(values[1]):
        return None
    target = np.broadcast_shapes(values[0].shape, tuple(int(size) for size in values[1].reshape(-1)))
    return _array(np.broadcast_to(values[0], target).copy())


def _filled(site: Site, values: list[Numbers]) -> Numbers | None:
    """ConstantOfShape of few elements, whose number is known."""
    if not known(values[0]):
        return None
    shape = tuple(int(size) for size in values[0].reshape(-1))
    if int(np.prod(shape, dtype=int)) > _LIMIT:
        return None
    value = site.attr("value")
    dtype = np.float32 if value is None else value.values.dtype
    if not np.issubdtype(dtype, np.integer) and dtype != np.bool_:
        return None
    return numbers(np.full(shape, value.values.reshape(-1)[0]))


def _range(site: Site, values: list[Numbers]) -> Numbers | None:
    if not all(map(known, values)):
        return None
    found = np.arange(*(value.item() for value in values))
    return numbers(found) if found.size <= _LIMIT else None


def _reduce(function: Callable[[Any, Any], Any]) -> Callable[[Site, list[Numbers]], Numbers | None]:
    def reduce(site: Site, values: list[Numbers]) -> Numbers | None:
        """All elements together, the only reduction that sizes undergo."""
        if values[0].ndim > 1:
            return None
        total: Number = values[0].reshape(-1)[0]
        for value in values[0].reshape(-1)[1:]:
            total = _apply(site, function, (total, value))
        return numbers([total]) if site.attr("keepdims", 1) and values[0].ndim else numbers(total)

    return reduce


def _split(site: Site, values: list[Numbers]) -> list[Numbers] | None:
    axis = site.attr("axis", 0)
    sizes = [int(v) for v in values[1].reshape(-1)] if len(values) > 1 and known(values[1]) else site.attr("split")
    count = len(site.node.outputs)
    if sizes is None:
        return list(np.array_split(values[0], count, axis=axis))
    return list(np.split(values[0], np.cumsum(sizes)[:-1], axis=axis))


def _array(value: Any) -> Numbers:
    """NumPy gives the element itself where an array of rank 0 was meant."""
    return value if isinstance(value, np.ndarray) else numbers(value)


_OTHERS: Mapping[str, Callable[[Site, list[Numbers]], Numbers | list[Numbers] | None]] = {
    "Where": _where,
    "Cast": _cast,
    "Gather": _gather,
    "Concat": _concat,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Slice": _slice,
    "Transpose": _transpose,
    "Expand": _expand,
    "ConstantOfShape": _filled,
    "Range": _range,
    "ReduceProd": _reduce(operator.mul),
    "ReduceSum": _reduce(operator.add),
    "ReduceMax": _reduce(torch.sym_max),
    "ReduceMin": _reduce(torch.sym_min),
    "Split": _split,
    "Identity": lambda site, values: values[0],
}
