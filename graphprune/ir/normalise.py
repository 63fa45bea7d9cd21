"""Bring a model into the one form the rest of the compiler reads.

Local functions inlined, constants folded, Identity and inference-time Dropout gone,
dead nodes and initialisers dropped, nodes in topological order with unique names, shapes inferred anew. The same in the
bodies of If, Loop and Scan; a branch that is always taken is one no more. The numbers the model computes stay the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx.inliner
import onnx_graphsurgeon as gs
from onnx_graphsurgeon.logger import G_LOGGER

from graphprune.errors import ModelError
from graphprune.ir.asked_shapes import ask_earlier
from graphprune.ir.bodies import scopes
from graphprune.ir.concrete_sizes import CONCRETE
from graphprune.ir.folding import fold_constants
from graphprune.ir.free_names import free_name
from graphprune.ir.model import Model, Shape, outer_reads
from graphprune.ir.node_reading import NodeReading
from graphprune.ir.normal_bodies import keep_outputs_inside, name_tensors_apart, take_constant_branches
from graphprune.ir.recurrent_states import drop_zero_states, take_states_apart
from graphprune.ir.shape_inference import STANDARD_DOMAINS, infer_shapes
from graphprune.ir.shared_biases import part_biases
from graphprune.ir.size_arithmetic import evaluate, picked_dims
from graphprune.ir.slice_assignment import slices_to_concats

_OF_MANY = {"Concat", "Sum", "Mean", "Max", "Min"}
"""They copy what they read where it is one tensor: TorchScript's exporter leaves the empty cache out of a Concat."""

# The library prints its warnings to stdout, which belongs to results.
G_LOGGER.severity = G_LOGGER.CRITICAL


@dataclass
class Normal:
    """A normalised graph with what is known about its nodes and tensors; see :class:`graphprune.ir.model.Model`."""

    graph: gs.Graph
    node_protos: dict[str, onnx.NodeProto]
    shapes: dict[str, Shape]
    dtypes: dict[str, int]


def normalise(proto: onnx.ModelProto, folder: Path | None, own_file: str = "") -> Normal:
    """Normalise a checked model; ``proto`` itself is not changed."""
    if proto.functions:
        proto = onnx.inliner.inline_local_functions(proto)
    shapes, dtypes = infer_shapes(proto)
    graph = gs.import_onnx(proto)
    node_protos = _name_nodes(graph, proto)
    for name in name_tensors_apart(graph):  # what was inferred may be meant for another of that name
        shapes.pop(name, None)
        dtypes.pop(name, None)
    graph.toposort()
    for scope in scopes(graph):
        _read_constant_nodes(scope)
        _drop_identities(scope, dtypes)  # before folding, which would copy a weight behind an Identity
    graph.cleanup()
    _fold(graph, shapes, proto, folder, own_file)
    for scope in scopes(graph):
        drop_zero_states(scope)
    take_states_apart(graph, shapes)
    part_biases(graph)
    for scope in scopes(graph):
        ask_earlier(scope, shapes)
    _tidy(graph, dtypes)
    if not graph.nodes:
        raise ModelError("the model computes nothing from its inputs: every node is constant", "export it again")
    return Normal(graph, node_protos, shapes, dtypes)


def fold_sizes_again(model: Model) -> bool:
    """Fold what only a second look at the shapes of a folded graph has shown to be static,
    and write assignments to slices as what they are; tell whether there was any of it.
    """
    folded = _fold(model.graph, model.shapes, model.header, model.folder, model.own_file)
    if not slices_to_concats(model.graph, model.shapes, model.dtypes) and not folded:
        return False
    _tidy(model.graph, model.dtypes)
    return True


def _fold(
    graph: gs.Graph, shapes: dict[str, Shape], header: onnx.ModelProto, folder: Path | None, own_file: str
) -> bool:
    """Make constants of what is static or computed from constants, in bodies, too; tell whether a shape or branch was.

    A branch that is always taken, put in place, may hold more of them.
    """
    found = False
    while True:
        for scope in scopes(graph):
            found |= _fold_static_shapes(scope, shapes) > 0
            fold_constants(scope, header, folder, own_file, is_body=scope is not graph)
        if not take_constant_branches(graph):
            return found
        found = True


def _tidy(graph: gs.Graph, dtypes: dict[str, int]) -> None:
    for scope in scopes(graph):
        _drop_identities(scope, dtypes)
    graph.cleanup()
    keep_outputs_inside(graph)
    graph.toposort()


def _name_nodes(graph: gs.Graph, proto: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """Give every node a unique name, the file's own where it has one."""
    pairs = list(_with_protos(graph, proto.graph))
    taken: set[str] = {node.name for node, _, _ in pairs}
    named: dict[str, onnx.NodeProto] = {}
    for node, node_proto, index in pairs:
        if not node.name or node.name in named:
            node.name = free_name(f"{node.op}_{index}", taken, "_")
        named[node.name] = node_proto
    return named


def _with_protos(graph: gs.Graph, proto: onnx.GraphProto) -> Iterator[tuple[gs.Node, onnx.NodeProto, int]]:
    """Every node with the protobuf that it was read from and its place there; those in bodies follow."""
    pairs = list(zip(graph.nodes, proto.node, strict=True))
    yield from ((node, node_proto, index) for index, (node, node_proto) in enumerate(pairs))
    for node, node_proto in pairs:
        for attribute in node_proto.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _with_protos(node.attrs[attribute.name], attribute.g)


def _read_constant_nodes(graph: gs.Graph) -> None:
    """Turn Constant nodes into constants; the library would make double precision of a Python float."""
    dtypes = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    for node in graph.nodes:
        if node.op != "Constant" or len(node.attrs) != 1:
            continue
        ((kind, value),) = node.attrs.items()
        if kind == "value" and isinstance(value, gs.Constant):
            _to_constant(node, value._values)  # ._values: not read until somebody needs them
        elif kind in dtypes:
            _to_constant(node, np.array(value, dtypes[kind]))


def _fold_static_shapes(graph: gs.Graph, shapes: dict[str, Shape]) -> int:
    """Replace Shape of a fully static tensor, and Gather or Slice of static entries of a Shape,
    by constants; how many.
    """
    count = 0
    for node in graph.nodes:
        if not node.outputs:  # folded before
            continue
        if node.op == "Shape":
            sizes = _sizes(node, shapes)
        elif node.op in ("Gather", "Slice") and all(isinstance(tensor, gs.Constant) for tensor in node.inputs[1:]):
            producer = node.inputs[0].inputs[0] if node.inputs[0].inputs else None
            if producer is None or producer.op != "Shape":
                continue
            dims = _sizes(producer, shapes)
            taken = evaluate(NodeReading(node), [dims, *(tensor.values for tensor in node.inputs[1:])], CONCRETE)
            sizes = taken[0] if taken is not None else None
        else:
            continue
        if sizes is not None and all(isinstance(dim, int) for dim in sizes.flat):
            _to_constant(node, sizes.astype(np.int64))
            count += 1
    return count


def _sizes(shape: gs.Node, shapes: dict[str, Shape]) -> np.ndarray | None:
    """What a Shape writes: sizes, and for those that are not known their names or None."""
    dims = shapes.get(shape.inputs[0].name)
    return (
        None if dims is None else np.array([dims[axis] for axis in picked_dims(NodeReading(shape), len(dims))], object)
    )


def _to_constant(node: gs.Node, values: np.ndarray) -> None:
    tensor = node.outputs[0]
    node.outputs.clear()
    tensor.to_constant(values)


def _drop_identities(graph: gs.Graph, dtypes: dict[str, int]) -> None:
    """Connect readers of Identity, inference-time Dropout, Cast to the same type and sums of one to what these copy."""
    outputs = {tensor.name for tensor in graph.outputs}
    read_inside = {tensor.name for node in graph.nodes for tensor in outer_reads(node)}
    for node in graph.nodes:
        if not _is_identity(node, dtypes):
            continue
        source, copy = node.inputs[0], node.outputs[0]
        if copy.name in outputs or copy.name in read_inside:
            continue
        for reader in list(copy.outputs):
            for index, tensor in enumerate(reader.inputs):
                if tensor is copy:
                    reader.inputs[index] = source


def _is_identity(node: gs.Node, dtypes: dict[str, int]) -> bool:
    if node.domain not in STANDARD_DOMAINS or not node.outputs:  # folded nodes have lost their outputs
        return False
    if node.op == "Cast":
        return bool(dtypes.get(node.inputs[0].name) == node.attrs.get("to"))
    if node.op in _OF_MANY:
        return len(node.inputs) == 1
    return node.op == "Identity" or (node.op == "Dropout" and _is_inference_dropout(node))


def _is_inference_dropout(node: gs.Node) -> bool:
    mask_used = len(node.outputs) > 1 and bool(node.outputs[1].outputs)
    training = node.inputs[2] if len(node.inputs) > 2 else None
    is_off = training is None or not training.name or (isinstance(training, gs.Constant) and not bool(training.values))
    return not mask_used and is_off
