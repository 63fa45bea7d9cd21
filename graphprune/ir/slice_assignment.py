"""Assignments to a slice, ``x[:, 2:6] = y``, which exporters write as ScatterND with every index listed.

With a Concat of what stays and what comes in, the axes can be followed, and it is no slower.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from graphprune.ir.model import Shape
from graphprune.ir.shape_inference import STANDARD_DOMAINS

_END = np.iinfo(np.int64).max


def slices_to_concats(graph: gs.Graph, shapes: Mapping[str, Shape], dtypes: MutableMapping[str, int]) -> int:
    """Replace each ScatterND that overwrites one range of one axis, whole along the others; how many."""
    scatters = [node for node in graph.nodes if node.op == "ScatterND" and node.domain in STANDARD_DOMAINS]
    written = [(node, place) for node in scatters if (place := _range_written(node, shapes)) is not None]
    taken = {node.name for node in graph.nodes} | set(graph.tensors()) if written else set()
    for node, (axis, start, end, size) in written:
        data, _, updates = node.inputs
        parts = [updates]
        if start:
            parts.insert(0, _part(graph, node, axis, 0, start, _free(f"{node.name}/before", taken)))
        if end < size:
            parts.append(_part(graph, node, axis, end, _END, _free(f"{node.name}/after", taken)))
        for part in parts:
            dtypes.setdefault(part.name, dtypes.get(data.name, onnx.TensorProto.FLOAT))
        outputs = list(node.outputs)
        node.outputs.clear()
        joined = gs.Node("Concat", _free(f"{node.name}/joined", taken), {"axis": axis}, parts, outputs)
        graph.nodes[graph.nodes.index(node)] = joined
    return len(written)


def _range_written(node: gs.Node, shapes: Mapping[str, Shape]) -> tuple[int, int, int, int] | None:
    """Axis, start and end of the range, and the size of the axis; None if it is not one range of one axis."""
    data, indices = node.inputs[:2]
    dims = shapes.get(data.name)
    if dims is None or not isinstance(indices, gs.Constant) or node.attrs.get("reduction", "none") != "none":
        return None
    index = indices.values
    depth = index.shape[-1] if index.ndim else 0
    if not index.size or index.ndim != depth + 1:
        return None
    found = None
    for axis, size in enumerate(dims[:depth]):
        along = index[..., axis]
        start, length = int(along.flat[0]), along.shape[axis]
        grid = np.arange(start, start + length).reshape([-1 if i == axis else 1 for i in range(depth)])
        if not isinstance(size, int) or not 0 <= start <= size - length or not (along == grid).all():
            return None
        if length != size:
            if found is not None:
                return None
            found = axis, start, start + length, size
    return found


def _part(graph: gs.Graph, node: gs.Node, axis: int, start: int, end: int, name: str) -> gs.Variable:
    """What stays of the data, made by a Slice before the node."""
    data = node.inputs[0]
    part = gs.Variable(name, dtype=data.dtype)
    numbers = {"start": start, "end": end, "axis": axis}
    bounds = [gs.Constant(f"{name}/{what}", np.array([number])) for what, number in numbers.items()]
    graph.nodes.insert(graph.nodes.index(node), gs.Node("Slice", name, inputs=[data, *bounds], outputs=[part]))
    return part


def _free(name: str, taken: set[str]) -> str:
    """``name``, or a longer one that the graph does not have."""
    while any(known == name or known.startswith(f"{name}/") for known in taken):
        name += "_"
    taken.add(name)
    return name
