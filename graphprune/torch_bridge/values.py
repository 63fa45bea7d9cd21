"""What an ONNX tensor becomes while a module is built: a tensor of the new graph, or numbers.

A size is no tensor in torch, and must not become one: reading a tensor back into a size breaks the graph for compilers
and stops at the first dynamic axis. So whatever is computed from sizes alone stays *numbers*:
an array of Python numbers and of graph nodes that give one number each. What ONNX does to such arrays (Gather, Concat,
Slice ...) NumPy does while the module is built, and nothing of it is left in the module.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import fx

Number = Any
"""An int, float or bool, or the fx.Node that computes one."""

Numbers = np.ndarray
"""An array of dtype object with a :data:`Number` in each place."""

Value = fx.Node | np.ndarray
"""A node that gives a tensor, or numbers."""


def numbers(values: Any, shape: tuple[int, ...] | None = None) -> Numbers:
    """Numbers of nested lists, of an array or of a single number; ``shape`` where the lists do not show it."""
    if isinstance(values, np.ndarray) and values.dtype != object:
        flat = [value.item() for value in values.reshape(-1)]
        shape = values.shape
    elif isinstance(values, np.ndarray):
        return values
    else:
        flat = list(values) if isinstance(values, list | tuple) else [values]
        shape = shape if shape is not None else ((len(flat),) if isinstance(values, list | tuple) else ())
    array = np.empty(len(flat), dtype=object)
    for index, value in enumerate(flat):
        array[index] = value
    return array.reshape(shape)


def known(value: Numbers) -> bool:
    """Whether every number is known now, whatever the input."""
    return not any(isinstance(number, fx.Node) for number in value.reshape(-1))


def nested(value: Numbers) -> Any:
    """The numbers as nested tuples, fit for the arguments of a graph node."""
    if not value.ndim:
        return value.item()
    return tuple(nested(value[i]) if value.ndim > 1 else value[i] for i in range(len(value)))
