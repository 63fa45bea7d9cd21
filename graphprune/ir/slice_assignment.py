"""Assignments to a slice, ``x[:, 2:6] = y``, which exporters write as ScatterND with every index listed, and those to
one place, ``x[:, 0] = y``, which they write as ScatterElements.

With a Concat of what stays and what comes in, the axes can be followed, and it is no slower.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from graphprune.ir.model import Shape
from graphprune.ir.shape_inference import is_invented
from graphprune.ir.written_ranges import WrittenRange, known_dims, written_range

_END = np.iinfo(np.int64).max


def slices_to_concats(graph: gs.Graph, shapes: Mapping[str, Shape], dtypes: MutableMapping[str, int]) -> int:
    """Replace each ScatterND and ScatterElements that overwrites one range of one axis, whole along the others;
    how many.
    """
    written = [(node, place) for node in graph.nodes if (place := written_range(node, shapes)) is not None]
    taken = {node.name for node in graph.nodes} | set(graph.tensors()) if written else set()
    for node, place in written:
        data = node.inputs[0]
        parts = [_what_is_written(graph, node, place, shapes, taken)]
        if place.start:
            parts.insert(0, _part(graph, node, place.axis, 0, place.start, _free(f"{node.name}/before", taken)))
        if not place.is_at_end:
            parts.append(_part(graph, node, place.axis, place.end, _END, _free(f"{node.name}/after", taken)))
        for part in parts:
            dtypes.setdefault(part.name, dtypes.get(data.name, onnx.TensorProto.FLOAT))
        outputs = list(node.outputs)
        node.outputs.clear()
        joined = gs.Node("Concat", _free(f"{node.name}/joined", taken), {"axis": place.axis}, parts, outputs)
        graph.nodes[graph.nodes.index(node)] = joined
    return len(written)


def _what_is_written(
    graph: gs.Graph, node: gs.Node, place: WrittenRange, shapes: Mapping[str, Shape], taken: set[str]
) -> gs.Tensor:
    """The updates before TorchScript's exporter gave them, by sizes that it computes, the shape that they had already,
    or an axis for the one place.
    """
    updates = node.inputs[2]
    dims = shapes[node.inputs[0].name]
    before, behind = dims[: place.axis], dims[place.axis + 1 :]
    given = _before_reshaping(updates, (*before, place.length, *behind), shapes)
    if given is not None:
        return given
    given = _before_reshaping(updates, (*before, *behind), shapes) if place.length == 1 else None
    if given is None:
        return updates
    name = _free(f"{node.name}/written", taken)
    written = gs.Variable(name, dtype=given.dtype)
    axes = gs.Constant(f"{name}/axes", np.array([place.axis]))
    inputs, attrs = ([given, axes], {}) if graph.opset >= 13 else ([given], {"axes": [place.axis]})
    graph.nodes.insert(graph.nodes.index(node), gs.Node("Unsqueeze", name, attrs, inputs, [written]))
    return written


def _before_reshaping(tensor: gs.Tensor, dims: Shape, shapes: Mapping[str, Shape]) -> gs.Tensor | None:
    """What has the shape ``dims`` and is only reshaped to ``tensor``, which has as many entries."""
    found = None
    while tensor.inputs and tensor.inputs[0].op in ("Reshape", "Expand") and not any(map(is_invented, dims)):
        tensor = tensor.inputs[0].inputs[0]
        found = tensor if known_dims(tensor, shapes) == dims else found
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
