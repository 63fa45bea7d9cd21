"""A network in segments that are timed one by one: each layer with weights, and what follows until the next.

Two segments that compute the same on tensors of the same sizes have the same signature and share one measurement.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from graphprune.analysis.dataflow import DataFlow
from graphprune.axes import algebra
from graphprune.axes.algebra import Atom
from graphprune.axes.typing import Typing
from graphprune.ir.bodies import all_nodes, with_bodies
from graphprune.ir.model import Model, constant_dims, read_values
from graphprune.segments.cuts import at_layers
from graphprune.segments.partition import Segment, partition

_SETTING_SIZE = 64  # integers up to so many are settings (shapes, axes), whose values matter


def layer_segments(flow: DataFlow) -> list[Segment]:
    """The segments in order of execution; what comes before the first layer is one of its own."""
    return [segment for segment in partition(flow, at_layers(flow), flow.outputs) if segment.writes]


def segments_left(model: Model, segments: Sequence[Segment]) -> list[Segment]:
    """The same ``segments`` in a ``model`` after a cut, which may have made constants of some of their nodes."""
    flow = model.derived(DataFlow)
    parts = [replace(each, nodes=tuple(name for name in each.nodes if name in flow.nodes)) for each in segments]
    return partition(flow, parts, flow.outputs)


def atoms_in(model: Model, typing: Typing, segments: Sequence[Segment]) -> list[frozenset[Atom]]:
    """For each segment the atoms that any tensor or constant in it has as an axis."""
    nodes = {node.name: node for node in model.graph.nodes}
    found = []
    for segment in segments:
        axes = [typing.axes.get(tensor, ()) for tensor in segment.reads]
        for node in (each for name in segment.nodes for each in with_bodies(nodes[name])):
            axes += [typing.axes.get(tensor.name, ()) for tensor in node.outputs]
            axes += [typing.constants.get((node.name, operand), ()) for operand in range(len(node.inputs))]
        found.append(frozenset(atom for each in axes for axis in each for atom in algebra.atoms_of(axis)))
    return found


def signature(model: Model, segment: Segment, values: Mapping[str, np.ndarray]) -> str:
    """A hash of what is computed on which sizes; ``values`` are the tensors that enter, weights do not count."""
    known: dict[str, Any] = {name: ["in", i, *_sizes(values[name])] for i, name in enumerate(segment.reads)}
    nodes = {node.name: node for node in model.graph.nodes}
    computed = []
    for position, name in enumerate(segment.nodes):
        node = nodes[name]
        inputs = [_operand(model, tensor, known) for tensor in node.inputs]
        attributes = sorted((key, _attribute(value, name)) for key, value in node.attrs.items())
        computed.append([node.domain or "", node.op, attributes, inputs])
        known |= {tensor.name: ["from", position, i] for i, tensor in enumerate(node.outputs)}
    text = json.dumps([computed, [known[name] for name in segment.writes]], default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _sizes(array: np.ndarray) -> list[Any]:
    return [str(array.dtype), list(array.shape)]


def _operand(model: Model, tensor: gs.Tensor, known: Mapping[str, Any]) -> Any:
    if not isinstance(tensor, gs.Constant):
        return known.get(tensor.name, "")
    dims = constant_dims(tensor)
    is_setting = "int" in str(tensor.dtype) and int(np.prod(dims)) <= _SETTING_SIZE
    values = read_values(tensor, model.folder).tolist() if is_setting else None
    return ["constant", str(tensor.dtype), list(dims), values]


def _attribute(value: Any, node: str) -> str:
    """Plain attributes by value; a body is like no other, and its weights may be cut."""
    if isinstance(value, gs.Graph):
        weights = [constant_dims(t) for n in all_nodes(value) for t in n.inputs if isinstance(t, gs.Constant)]
        return f"graph of {node} {weights}"
    if isinstance(value, gs.Constant | np.ndarray):
        return str(getattr(value, "shape", ""))
    return str(value)
