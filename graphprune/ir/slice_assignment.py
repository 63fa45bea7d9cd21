"""Assignments to a slice, ``x[:, 2:6] = y``, which exporters write as ScatterND with every index listed, and those to
one place, ``x[:, 0] = y``, which they write as ScatterElements.

With a Concat of what stays and what comes in, the axes can be followed, and it is no slower.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

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
        _Assignment(graph, node, taken, dtypes).replace(box, shapes)
    return len(written)


@dataclass(frozen=True)
class _Assignment:
    """One node that overwrites a box; new names are put into ``taken``, their types into ``dtypes``."""

    graph: gs.Graph
    node: gs.Node
    taken: set[str]
    dtypes: MutableMapping[str, int]

    def replace(self, box: Box, shapes: Mapping[str, Shape]) -> None:
        """By a Concat of what stays and what is written, or by what is written where nothing stays."""
        updates, outputs = self._what_is_written(box, shapes), list(self.node.outputs)
        self.node.outputs.clear()
        if box:
            parts = self._parts(self.node.inputs[0], box, updates)
            joined = gs.Node("Concat", self._free("joined"), {"axis": box[0].axis}, parts, outputs)
        else:
            joined = gs.Node("Identity", self._free("all"), inputs=[updates], outputs=outputs)
        self.graph.nodes[self.graph.nodes.index(self.node)] = joined

    def _parts(self, data: gs.Tensor, box: Box, updates: gs.Tensor) -> list[gs.Tensor]:
        """``data`` with ``updates`` in the box, in parts along its first axis.

        What lies before and behind the box stays; between them is the rest of it.
        """
        place, rest = box[0], box[1:]
        if rest:
            covered = self._slice("covered", data, place.axis, place.start, _END if place.is_at_end else place.end)
            updates = self._put("Concat", "within", self._parts(covered, rest, updates), axis=rest[0].axis)
        parts = [updates]
        if place.start:
            parts.insert(0, self._slice("before", data, place.axis, 0, place.start))
        if not place.is_at_end:
            parts.append(self._slice("after", data, place.axis, place.end, _END))
        return parts

    def _what_is_written(self, box: Box, shapes: Mapping[str, Shape]) -> gs.Tensor:
        """The updates before TorchScript's exporter gave them, by sizes that it computes, the shape that they had
        already, or an axis for the one place.
        """
        updates = self.node.inputs[2]
        lengths = {place.axis: place.length for place in box}
        dims = tuple(lengths.get(axis, size) for axis, size in enumerate(shapes[self.node.inputs[0].name]))
        given = _before_reshaping(updates, dims, shapes)
        if given is not None:
            return given
        if [*lengths.values()] != [1]:
            return updates
        [axis] = lengths
        given = _before_reshaping(updates, (*dims[:axis], *dims[axis + 1 :]), shapes)
        if given is None:
            return updates
        if self.graph.opset < 13:
            return self._put("Unsqueeze", "written", [given], axes=[axis])
        return self._put("Unsqueeze", "written", [given], {"axes": axis})

    def _slice(self, what: str, data: gs.Tensor, axis: int, start: int, end: int) -> gs.Variable:
        return self._put("Slice", what, [data], {"start": start, "end": end, "axis": axis})

    def _put(
        self, op: str, what: str, inputs: list[gs.Tensor], numbers: Mapping[str, int] | None = None, **attrs: Any
    ) -> gs.Variable:
        """What a new node before this one makes of ``inputs`` and of constants, which hold a number each."""
        name = self._free(what)
        made = gs.Variable(name, dtype=inputs[0].dtype)
        self.dtypes.setdefault(name, self.dtypes.get(self.node.inputs[0].name, onnx.TensorProto.FLOAT))
        constants = [gs.Constant(f"{name}/{which}", np.array([n])) for which, n in (numbers or {}).items()]
        put = gs.Node(op, name, attrs, [*inputs, *constants], [made])
        self.graph.nodes.insert(self.graph.nodes.index(self.node), put)
        return made

    def _free(self, what: str) -> str:
        """A name after the node's, or a longer one where the graph has that."""
        name = f"{self.node.name}/{what}"
        while any(known == name or known.startswith(f"{name}/") for known in self.taken):
            name += "_"
        self.taken.add(name)
        return name


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
