"""Sizes that are plain numbers: the domain of arrays of integers, floats and booleans,
computed by NumPy as ONNX defines it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx

_PLAIN = "iubf"  # dtype kinds; bfloat16 and the like are none of NumPy's own


def _divide(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Integers are divided towards zero."""
    if one.dtype.kind == "f":
        return np.asarray(np.divide(one, other))
    quotient, rest = np.floor_divide(one, other), np.remainder(one, other)
    return np.asarray(quotient + ((rest != 0) & ((one < 0) ^ (other < 0))).astype(quotient.dtype))


_BINARY: Mapping[str, Callable[[Any, Any], Any]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": _divide,
    "Mod": np.mod,
    "Max": np.maximum,
    "Min": np.minimum,
    "Equal": np.equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "And": np.logical_and,
    "Or": np.logical_or,
}
_UNARY: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "Neg": ("if", np.negative),
    "Abs": ("iuf", np.abs),
    "Floor": ("f", np.floor),
    "Ceil": ("f", np.ceil),
    "Sqrt": ("f", np.sqrt),
    "Not": ("b", np.logical_not),
}
_JOINS: Mapping[str, np.ufunc] = {"Add": np.add, "Mul": np.multiply, "Max": np.maximum, "Min": np.minimum}


class ConcreteSizes:
    """The :class:`graphprune.ir.size_arithmetic.NumberDomain` of plain numbers.

    Dimensions with names, in arrays of objects, can be moved about by it as well; nothing is computed of them.
    """

    def known(self, values: np.ndarray) -> np.ndarray | None:
        """Themselves, if they are integers."""
        return values if values.dtype.kind in "iub" else None

    def elementwise(self, op: str, values: Sequence[np.ndarray]) -> np.ndarray | None:
        """By NumPy; None where the types differ or are none of its own."""
        if any(value.dtype.kind not in _PLAIN for value in values):
            return None
        first = values[0]
        if op == "Where":
            return np.where(*values) if values[1].dtype == values[2].dtype else None
        if op == "Pow":
            return np.asarray(np.power(*values)).astype(first.dtype)
        if op in _UNARY:
            kinds, function = _UNARY[op]
            return np.asarray(function(first)) if first.dtype.kind in kinds else None
        return np.asarray(_BINARY[op](*values)) if first.dtype == values[1].dtype else None

    def reduce(self, op: str, values: np.ndarray) -> np.ndarray | None:
        """By NumPy, in the type of the values."""
        return np.asarray(_JOINS[op].reduce(values), values.dtype) if values.dtype.kind in _PLAIN else None

    def cast(self, values: np.ndarray, kind: int) -> np.ndarray | None:
        """By NumPy; None for types that are none of its own."""
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind)
        return values.astype(dtype) if {dtype.kind, values.dtype.kind} <= set(_PLAIN) else None

    def filled(self, shape: tuple[int, ...], value: np.ndarray) -> np.ndarray | None:
        """Of the type of ``value``."""
        return np.full(shape, value.reshape(-1)[0]) if value.dtype.kind in _PLAIN else None

    def range(self, start: np.ndarray, stop: np.ndarray, step: np.ndarray) -> np.ndarray | None:
        """In double precision, then of the type of ``start``."""
        if start.dtype.kind not in _PLAIN or start.dtype == np.float16:
            return None
        return np.arange(start.item(), stop.item(), step.item()).astype(start.dtype)


CONCRETE = ConcreteSizes()
