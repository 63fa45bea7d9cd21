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
from graphprune.ir.written_ranges import Box, known_dims, written_box

_END = np.iinfo(np.int64).max


def slices_to_concats(graph: gs.Graph, shapes: Mapping[str, Shape], dtypes: MutableMapping[str, int]) -> int:
    """Replace each ScatterND and ScatterElements that overwrites a box, one range of each axis that is not whole; how
    many.
    """
    written = [(node, box) for node in graph.nodes if (box := written_box(node, shapes)) is not None]
    taken = {node.name for node in graph.nodes} | set(graph.tensors()) if written else set()
    for node, box in written:
        updates = _what_is_written(graph, node, box, shapes, taken)
        outputs, before = list(node.outputs), len(graph.nodes)
        node.outputs.clear()
        joined = _overwritten(graph, node, node.inputs[0], box, updates, outputs, taken)
        at = graph.nodes.index(node)
        graph.nodes[at] = joined
        dtype = dtypes.get(node.inputs[0].name, onnx.TensorProto.FLOAT)
        for made in graph.nodes[at - (len(graph.nodes) - before) : at]:
            dtypes.setdefault(made.outputs[0].name, dtype)
    return len(written)


def _overwritten(
    graph: gs.Graph,
    node: gs.Node,
    data: gs.Tensor,
    box: Box,
    updates: gs.Tensor,
    outputs: list[gs.Tensor],
    taken: set[str],
) -> gs.Node:
    """What makes ``outputs``, ``data`` with ``updates`` in the box; what it reads is put before the node.

    Along the first axis of the box stay what lies before and behind it; between them is the rest of the box.
    """
    if not box:
        return gs.Node("Identity", _free(f"{node.name}/all", taken), inputs=[updates], outputs=outputs)
    place, *rest = box
    end = _END if place.is_at_end else place.end
    parts = [updates]
    if rest:
        covered = _part(graph, node, data, place.axis, place.start, end, _free(f"{node.name}/covered", taken))
        within = gs.Variable(_free(f"{node.name}/within", taken), dtype=data.dtype)
        inner = _overwritten(graph, node, covered, tuple(rest), updates, [within], taken)
        graph.nodes.insert(graph.nodes.index(node), inner)
        parts = [within]
    if place.start:
        before = _free(f"{node.name}/before", taken)
        parts.insert(0, _part(graph, node, data, place.axis, 0, place.start, before))
    if not place.is_at_end:
        parts.append(_part(graph, node, data, place.axis, place.end, _END, _free(f"{node.name}/after", taken)))
    return gs.Node("Concat", _free(f"{node.name}/joined", taken), {"axis": place.axis}, parts, outputs)


def _what_is_written(
    graph: gs.Graph, node: gs.Node, box: Box, shapes: Mapping[str, Shape], taken: set[str]
) -> gs.Tensor:
    """The updates before TorchScript's exporter gave them, by sizes that it computes, the shape that they had already,
    or an axis for the one place.
    """
    updates = node.inputs[2]
    lengths = {place.axis: place.length for place in box}
    dims = tuple(lengths.get(axis, size) for axis, size in enumerate(shapes[node.inputs[0].name]))
    given = _before_reshaping(updates, dims, shapes)
    if given is not None:
        return given
    if [*lengths.values()] != [1]:
        return updates
    [axis] = lengths
    given = _before_reshaping(updates, (*dims[:axis], *dims[axis + 1 :]), shapes)
    if given is None:
        return updates
    name = _free(f"{node.name}/written", taken)
    written = gs.Variable(name, dtype=given.dtype)
    axes = gs.Constant(f"{name}/axes", np.array([axis]))
    inputs, attrs = ([given, axes], {}) if graph.opset >= 13 else ([given], {"axes": [axis]})
    graph.nodes.insert(graph.nodes.index(node), gs.Node("Unsqueeze", name, attrs, inputs, [written]))
    return written


def _before_reshaping(tensor: gs.Tensor, dims: Shape, shapes: Mapping[str, Shape]) -> gs.Tensor | None:
    """What has the shape ``dims`` and is only reshaped to ``tensor``, which has as many entries."""
    found, is_expanded = None, False
    while tensor.inputs and tensor.inputs[0].op in ("Reshape", "Expand"):
        is_expanded = is_expanded or tensor.inputs[0].op == "Expand"
        tensor = tensor.inputs[0].inputs[0]
        before = known_dims(tensor, shapes)
        if before is not None and len(before) == len(dims):
            unknown = [one for one, two in zip(before, dims, strict=True) if one != two or is_invented(one)]
            # as many entries in all: one size that nobody knows follows from the others
            found = tensor if len(unknown) <= (0 if is_expanded else 1) else found
    return found


def _part(graph: gs.Graph, node: gs.Node, data: gs.Tensor, axis: int, start: int, end: int, name: str) -> gs.Variable:
    """A range of the data, made by a Slice before the node."""
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
