"""A network in pieces that are timed one by one: each layer with weights, and what follows until the next.

Two pieces that compute the same on tensors of the same sizes have the same signature and share one measurement.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from graphprune.analysis.dataflow import DataFlow, is_weighted
from graphprune.axes import algebra
from graphprune.axes.algebra import Atom
from graphprune.axes.typing import Typing
from graphprune.ir.model import Model, constant_dims, read_values

_SETTING_SIZE = 64  # integers up to so many are settings (shapes, axes), whose values matter


@dataclass(frozen=True)
class Piece:
    """Nodes that run one after the other, the tensors that enter and those that leave."""

    layer: str
    nodes: tuple[str, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]


def cut(model: Model) -> list[Piece]:
    """The pieces in order of execution; what comes before the first layer is a piece of its own."""
    view = DataFlow(model)
    place: dict[str, int] = {}
    members: list[list[str]] = [[]]
    for name, node in view.nodes.items():  # in topological order
        before = [place[view.producer[tensor]] for tensor in view.data_reads(name) if tensor in view.producer]
        if is_weighted(node) and any(isinstance(tensor, gs.Constant) for tensor in node.inputs):
            place[name] = len(members)
            members.append([])
        else:
            place[name] = max(before, default=0)
        members[place[name]].append(name)
    pieces = []
    for index, nodes in enumerate(members):
        reads = dict.fromkeys(tensor for name in nodes for tensor in view.data_reads(name))
        written = [tensor.name for name in nodes for tensor in view.nodes[name].outputs if tensor.name]
        outside = {t for t in written if any(place[reader] != index for reader in view.readers.get(t, ()))}
        writes = tuple(tensor for tensor in written if tensor in outside or tensor in view.outputs)
        entering = tuple(tensor for tensor in reads if place.get(view.producer.get(tensor, "")) != index)
        if writes:
            pieces.append(Piece(nodes[0], tuple(nodes), entering, writes))
    return pieces


def atoms_in(model: Model, typing: Typing, pieces: list[Piece]) -> list[frozenset[Atom]]:
    """For each piece the atoms that any tensor or constant in it has as an axis."""
    nodes = {node.name: node for node in model.graph.nodes}
    found = []
    for piece in pieces:
        axes = [typing.axes.get(tensor, ()) for tensor in piece.reads]
        for name in piece.nodes:
            axes += [typing.axes.get(tensor.name, ()) for tensor in nodes[name].outputs]
            axes += [typing.constants.get((name, operand), ()) for operand in range(len(nodes[name].inputs))]
        found.append(frozenset(atom for each in axes for axis in each for atom in algebra.atoms_of(axis)))
    return found


def signature(model: Model, piece: Piece, values: Mapping[str, np.ndarray]) -> str:
    """A hash of what is computed on which sizes; ``values`` are the tensors that enter, weights do not count."""
    known: dict[str, Any] = {name: ["in", i, *_sizes(values[name])] for i, name in enumerate(piece.reads)}
    nodes = {node.name: node for node in model.graph.nodes}
    told = []
    for position, name in enumerate(piece.nodes):
        node = nodes[name]
        inputs = [_operand(model, tensor, known) for tensor in node.inputs]
        attributes = sorted((key, _attribute(value, name)) for key, value in node.attrs.items())
        told.append([node.domain or "", node.op, attributes, inputs])
        known |= {tensor.name: ["from", position, i] for i, tensor in enumerate(node.outputs)}
    text = json.dumps([told, [known[name] for name in piece.writes]], default=str)
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
    """Plain attributes by value; a subgraph is like no other."""
    if isinstance(value, gs.Graph):
        return f"graph of {node}"
    if isinstance(value, gs.Constant | np.ndarray):
        return str(getattr(value, "shape", ""))
    return str(value)
