"""What a ScatterND or ScatterElements overwrites, where that is a box: one range of each axis that is not whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from graphprune.ir.index_ranges import Run, run_in, run_of
from graphprune.ir.model import Dim, Shape, constant_dims
from graphprune.ir.node_reading import NodeReading
from graphprune.ir.shape_inference import STANDARD_DOMAINS, is_invented


@dataclass(frozen=True)
class WrittenRange:
    """What is overwritten along one axis. A start below zero counts from the end."""

    axis: int
    start: int
    length: int
    size: Dim

    @property
    def end(self) -> int:
        """The first entry behind it; 0 for the end of the axis where the start counts from there."""
        return self.start + self.length

    @property
    def is_at_end(self) -> bool:
        """Whether nothing lies behind it."""
        return self.end in (0, self.size)


Box = tuple[WrittenRange, ...]
"""A range of each axis that is not overwritten whole, by axis; empty where everything is overwritten."""


def written_box(node: gs.Node, shapes: Mapping[str, Shape]) -> Box | None:
    """The box; None where it is none, where nobody knows, or where something else is done than writing."""
    read = {"ScatterND": _written_by_nd, "ScatterElements": _written_by_elements}.get(node.op)
    if read is None or node.domain not in STANDARD_DOMAINS or node.attrs.get("reduction", "none") != "none":
        return None
    return read(NodeReading(node), shapes)


def _written_by_elements(node: NodeReading, shapes: Mapping[str, Shape]) -> Box | None:
    """Of ``data[..., index, ...] = updates``: None if it is not one range, or if updates may be shorter elsewhere."""
    dims, updates = shapes.get(node.inputs[0].name), known_dims(node.inputs[2], shapes)
    if dims is None or updates is None:
        return None
    axis = node.attr("axis", 0) % len(dims)
    others = [(one, two) for index, (one, two) in enumerate(zip(dims, updates, strict=True)) if index != axis]
    run, length = run_of(node.inputs[1], shapes), updates[axis]
    is_whole = all(one == two and not is_invented(one) for one, two in others)
    if run is None or not is_whole or not isinstance(length, int) or not _goes_through(run, length, axis - len(dims)):
        return None
    size = dims[axis]
    start = run.start + size if isinstance(size, int) and run.start < 0 else run.start
    return () if length == size else (WrittenRange(axis, start, length, size),)


def _written_by_nd(node: NodeReading, shapes: Mapping[str, Shape]) -> Box | None:
    """Of ``data[indices] = updates``: None if it is no box."""
    dims, updates = shapes.get(node.inputs[0].name), known_dims(node.inputs[2], shapes)
    runs = _grid(node.inputs[1], shapes)
    rank = len(runs)
    if dims is None or updates is None or not rank or len(updates) != len(dims):
        return None
    found: list[WrittenRange] = []
    for axis, (run, size) in enumerate(zip(runs, dims, strict=False)):
        if run is None or size is None:
            return None
        # A run that is as long as a free axis fills the grid: it could be repeated only if its one entry were.
        if run.axis == axis - rank - 1 and run.start == 0 and run.length == size:
            continue
        length = updates[axis]
        if not isinstance(size, int) or not isinstance(length, int) or not _goes_through(run, length, axis - rank - 1):
            return None
        start = run.start + size if run.start < 0 else run.start
        if length != size:
            found.append(WrittenRange(axis, start, length, size))
    return tuple(found)


def _grid(indices: gs.Tensor, shapes: Mapping[str, Shape]) -> list[Run | None]:
    """How the index into each leading axis counts up, from the right of a tensor that holds all of them at its end."""
    if isinstance(indices, gs.Constant):
        values = indices.values
        if values.ndim != values.shape[-1] + 1 if values.ndim else True:
            return []
        return [run_in(values[..., [axis]]) for axis in range(values.shape[-1])]
    producer = indices.inputs[0] if indices.inputs else None
    if producer is None or producer.op != "Concat":
        return [run_of(indices, shapes)]
    parts = [known_dims(tensor, shapes) for tensor in producer.inputs]
    is_last = producer.attrs["axis"] in (-1, len(parts))
    if not is_last or any(dims is None or len(dims) != len(parts) + 1 or dims[-1] != 1 for dims in parts):
        return []
    return [run_of(tensor, shapes) for tensor in producer.inputs]


def _goes_through(run: Run, length: int, axis: int) -> bool:
    """Whether the run goes along ``axis``, counted from the last, from end to end; ``length`` is the size there."""
    return length == 1 if run.axis is None else run.axis == axis and run.length == length


def known_dims(tensor: gs.Tensor, shapes: Mapping[str, Shape]) -> Shape | None:
    """Shape of a tensor or constant, as far as it is known."""
    return constant_dims(tensor) if isinstance(tensor, gs.Constant) else shapes.get(tensor.name)
