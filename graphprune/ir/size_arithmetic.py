"""What ONNX computes from sizes: one table, operator -> function of arrays, for every kind of number that sizes may be.

Moving numbers about (Gather, Concat, Slice ...) is the same for all kinds and done here by NumPy.
What is computed of them (Add, Mul, Cast ...) is asked of a :class:`NumberDomain`: concrete integers where a model is
probed, Python numbers and nodes of a new graph where it is converted, dimensions with names where shapes are folded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from graphprune.ir.node_reading import NodeReading

ELEMENTWISE = frozenset((
    "Add", "Sub", "Mul", "Div", "Mod", "Pow", "Max", "Min", "Equal", "Less", "LessOrEqual", "Greater",
    "GreaterOrEqual", "And", "Or", "Neg", "Abs", "Floor", "Ceil", "Sqrt", "Not", "Where",
))  # fmt: skip  # one word a line would be a page
_REDUCTIONS = {"ReduceProd": "Mul", "ReduceSum": "Add", "ReduceMax": "Max", "ReduceMin": "Min"}


class NumberDomain(Protocol):
    """One kind of numbers, in arrays of one dtype. Where a method gives None, the domain cannot say."""

    def known(self, values: np.ndarray) -> np.ndarray | None:
        """The values as integers, if every one of them is known now."""

    def elementwise(self, op: str, values: Sequence[np.ndarray]) -> np.ndarray | None:
        """An operator of :data:`ELEMENTWISE` on arrays that broadcast; of Max and Min two at a time."""

    def reduce(self, op: str, values: np.ndarray) -> np.ndarray | None:
        """All ``values`` (count,), at least one, joined by Add, Mul, Max or Min; shape ()."""

    def cast(self, values: np.ndarray, kind: int) -> np.ndarray | None:
        """The values as another TensorProto.DataType."""

    def filled(self, shape: tuple[int, ...], value: np.ndarray) -> np.ndarray | None:
        """An array of one number: ``value`` has one element."""

    def range(self, start: np.ndarray, stop: np.ndarray, step: np.ndarray) -> np.ndarray | None:
        """Numbers at equal distances, of the type of ``start``; all three have shape ()."""


Values = Sequence[np.ndarray | None]
"""What a node reads, in the order of its inputs; None where an optional one is not given."""


def evaluate(node: NodeReading, values: Values, domain: NumberDomain) -> list[np.ndarray] | None:
    """What ``node`` writes if it reads ``values``; None where the table or the domain does not know.

    Raises
    ------
    ValueError, IndexError, TypeError
        The values do not fit the operator, as NumPy finds.
    """
    if not values or values[0] is None or any(value is None for i, value in enumerate(values) if node.has(i)):
        return None
    operator = _elementwise if node.op in ELEMENTWISE else _OTHERS.get(node.op)
    try:
        found = operator(_Call(node, values, values[0], domain)) if operator is not None else ()
    except _Unknown:
        return None
    return [_array(value, values[0].dtype) for value in found] or None


def picked_dims(node: NodeReading, rank: int) -> range:
    """The axes whose sizes a Shape of a tensor with ``rank`` axes writes."""
    return range(rank)[node.attr("start", 0) : node.attr("end")]


def _array(value: object, dtype: np.dtype) -> np.ndarray:
    """NumPy gives the element itself where an array of rank 0 was meant."""
    if isinstance(value, np.ndarray):
        return value
    array = np.empty((), dtype=dtype)
    array[()] = value
    return array


class _Unknown(Exception):
    """The domain cannot say."""


def _said(value: np.ndarray | None) -> np.ndarray:
    if value is None:
        raise _Unknown
    return value


@dataclass(frozen=True)
class _Call:
    """A node, what it reads, of which ``x`` is the first, and the domain of these numbers."""

    node: NodeReading
    values: Values
    x: np.ndarray
    domain: NumberDomain

    @property
    def given(self) -> list[np.ndarray]:
        """The inputs that are there."""
        return [value for value in self.values if value is not None]

    def operand(self, index: int) -> np.ndarray | None:
        return self.values[index] if index < len(self.values) else None

    def ints(self, index: int, attribute: str) -> list[int] | None:
        """Integers that an input holds, or, in older operator sets, an attribute; None where neither is there."""
        held = self.operand(index)
        if held is None:
            written: list[int] | None = self.node.attr(attribute)
            return written
        return [int(value) for value in _said(self.domain.known(held)).reshape(-1)]


_Operator = Callable[[_Call], Sequence[object]]


def _elementwise(call: _Call) -> Sequence[object]:
    op, domain = call.node.op, call.domain
    if call.node.attr("fmod", 0):
        raise _Unknown
    if op not in ("Max", "Min"):
        return [_said(domain.elementwise(op, call.given))]
    result = call.x
    for value in call.given[1:]:
        result = _said(domain.elementwise(op, [result, value]))
    return [result]


def _reduced(call: _Call) -> Sequence[object]:
    """All elements together, the only reduction that sizes undergo."""
    x, axes = call.x, call.operand(1)
    if x.ndim > 1 or not x.size:
        raise _Unknown
    names_axes = bool(call.node.attr("axes")) or (axes is not None and axes.size > 0)
    if call.node.attr("noop_with_empty_axes", 0) and not names_axes:
        return [x]
    total = _said(call.domain.reduce(_REDUCTIONS[call.node.op], x.reshape(-1)))
    return [total.reshape(1) if call.node.attr("keepdims", 1) and x.ndim else total]


def _gather(call: _Call) -> Sequence[object]:
    index = _said(call.domain.known(_said(call.operand(1))))
    return [np.take(call.x, index.astype(np.int64), axis=call.node.attr("axis", 0))]


def _concat(call: _Call) -> Sequence[object]:
    return [np.concatenate(call.given, axis=call.node.attr("axis"))]


def _reshape(call: _Call) -> Sequence[object]:
    target = call.ints(1, "shape") or []
    if not call.node.attr("allowzero", 0):
        target = [call.x.shape[index] if size == 0 else size for index, size in enumerate(target)]
    return [call.x.reshape(target)]


def _squeeze(call: _Call) -> Sequence[object]:
    axes = call.ints(1, "axes")
    return [np.squeeze(call.x, tuple(axes) if axes is not None else None)]


def _unsqueeze(call: _Call) -> Sequence[object]:
    return [np.expand_dims(call.x, tuple(call.ints(1, "axes") or ()))]


def _slice(call: _Call) -> Sequence[object]:
    starts, ends = call.ints(1, "starts") or [], call.ints(2, "ends") or []
    axes = call.ints(3, "axes") or list(range(len(starts)))
    steps = call.ints(4, "steps") or [1] * len(starts)
    index = [slice(None)] * call.x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        index[axis] = slice(start, end, step)
    return [call.x[tuple(index)]]


def _transpose(call: _Call) -> Sequence[object]:
    return [np.transpose(call.x, call.node.attr("perm"))]


def _expand(call: _Call) -> Sequence[object]:
    target = np.broadcast_shapes(call.x.shape, tuple(call.ints(1, "shape") or ()))
    return [np.broadcast_to(call.x, target).copy()]


def _split(call: _Call) -> Sequence[object]:
    """Shares that are given, or equal ones of which the last may be smaller."""
    axis, count = call.node.attr("axis", 0), len(call.node.outputs)
    sizes = call.ints(1, "split") or [-(-call.x.shape[axis] // count)] * count
    return np.split(call.x, np.cumsum(sizes)[:-1], axis=axis)


def _cast(call: _Call) -> Sequence[object]:
    return [_said(call.domain.cast(call.x, call.node.attr("to")))]


def _constant_of_shape(call: _Call) -> Sequence[object]:
    shape, value = _said(call.domain.known(call.x)), call.node.attr("value")
    filling = np.zeros(1, np.float32) if value is None else value.values
    return [_said(call.domain.filled(tuple(int(size) for size in shape.reshape(-1)), filling))]


def _range(call: _Call) -> Sequence[object]:
    return [_said(call.domain.range(*call.given))]


def _identity(call: _Call) -> Sequence[object]:
    return [call.x]


_OTHERS: Mapping[str, _Operator] = {
    "Gather": _gather,
    "Concat": _concat,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Slice": _slice,
    "Transpose": _transpose,
    "Expand": _expand,
    "Split": _split,
    "Cast": _cast,
    "ConstantOfShape": _constant_of_shape,
    "Range": _range,
    "Identity": _identity,
    **dict.fromkeys(_REDUCTIONS, _reduced),
}
OPERATORS = ELEMENTWISE | frozenset(_OTHERS)
"""What the table knows, beside Shape and Size, which read no numbers."""
