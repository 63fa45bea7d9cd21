"""Tensors of indices that count up: constants, and what exporters compute where a size is free.

A grid of indices has one part for each axis that it goes through: ``Expand(Reshape(Range(0, N, 1), [-1, 1]), sizes)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx_graphsurgeon as gs

from graphprune.ir.model import Dim, Shape
from graphprune.ir.node_reading import NodeReading


@dataclass(frozen=True)
class Run:
    """``start``, ``start + 1`` and so on along ``axis``, counted from the last (-1), the same along all others.

    Without an axis the number is the same everywhere.
    """

    start: int
    length: Dim = 1
    axis: int | None = None


def run_of(tensor: gs.Tensor, shapes: Mapping[str, Shape]) -> Run | None:
    """How the entries of ``tensor`` count up; None if they do not, or if nobody knows."""
    if isinstance(tensor, gs.Constant):
        return run_in(tensor.values)
    if not tensor.inputs:
        return None
    node = NodeReading(tensor.inputs[0])
    if node.op == "Range":
        return _counted(node, shapes)
    inner = run_of(node.inputs[0], shapes) if node.op in ("Expand", "Cast", "Reshape", "Unsqueeze", "Add") else None
    if inner is None or node.op in ("Expand", "Cast"):
        return inner
    if node.op == "Add":
        other = run_of(node.inputs[1], shapes)
        return replace(inner, start=inner.start + other.start) if other is not None and other.axis is None else None
    return _moved(node, inner, shapes)


def run_in(values: np.ndarray) -> Run | None:
    """The same for an array."""
    if not values.size:
        return None
    start = int(values.flat[0])
    for axis in range(-values.ndim, 0):
        ascending = np.arange(start, start + values.shape[axis]).reshape(-1, *[1] * (-axis - 1))
        if values.shape[axis] > 1 and (values == ascending).all():
            return Run(start, values.shape[axis], axis)
    return Run(start) if (values == start).all() else None


def _counted(node: NodeReading, shapes: Mapping[str, Shape]) -> Run | None:
    """``Range(0, size of an axis, 1)``."""
    start, limit, step = node.inputs
    steps = [tensor.values.item() if isinstance(tensor, gs.Constant) else None for tensor in (start, step)]
    size = _size_read(limit, shapes)
    return Run(0, size, -1) if steps == [0, 1] and size is not None else None


def _size_read(tensor: gs.Tensor, shapes: Mapping[str, Shape]) -> Dim:
    """The dimension that a number is read from: ``Gather(Shape(x), axis)``."""
    gather = tensor.inputs[0] if tensor.inputs else None
    if gather is not None and gather.op in ("Squeeze", "Cast"):
        return _size_read(gather.inputs[0], shapes)
    if gather is None or gather.op != "Gather" or not isinstance(gather.inputs[1], gs.Constant):
        return None
    shape = gather.inputs[0].inputs[0] if gather.inputs[0].inputs else None
    if shape is None or shape.op != "Shape" or shape.attrs or gather.inputs[1].values.size != 1:
        return None
    dims = shapes.get(shape.inputs[0].name)
    index = int(gather.inputs[1].values.flat[0])
    return dims[index] if dims is not None and -len(dims) <= index < len(dims) else None


def _moved(node: NodeReading, run: Run, shapes: Mapping[str, Shape]) -> Run | None:
    """Behind a Reshape or Unsqueeze that adds axes of size one."""
    dims = shapes.get(node.inputs[0].name)
    if node.op == "Reshape":
        target = node.inputs[1].values.tolist() if node.is_constant(1) else []
        places = [index - len(target) for index, size in enumerate(target) if size != 1]
        is_row = dims is not None and len(dims) == 1 and run.axis == -1
        return replace(run, axis=places[0]) if is_row and len(places) == 1 else None
    added = node.inputs[1].values.ravel().tolist() if node.is_constant(1) else node.attr("axes")
    if added is None or len(added) != 1 or (added[0] >= 0 and dims is None):
        return None
    place = added[0] if added[0] < 0 else added[0] - len(dims or ()) - 1
    return run if run.axis is None else replace(run, axis=run.axis - (place >= run.axis))
