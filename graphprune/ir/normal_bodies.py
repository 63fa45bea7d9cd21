"""Bring the bodies of If, Loop and Scan into normal form: names of their own, no weights, no branch always taken."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx_graphsurgeon.ir.tensor import LazyValues

from graphprune.ir.bodies import scopes
from graphprune.ir.free_names import free_name, graph_names


def name_tensors_apart(graph: gs.Graph) -> set[str]:
    """Give every tensor of a body a name that no other tensor has: two branches may call theirs alike.

    The names that were shared come back.
    """
    known: dict[str, gs.Tensor] = {}
    shared: set[str] = set()
    taken = {tensor.name for scope in scopes(graph) for tensor in _tensors(scope)}
    for scope in scopes(graph):
        for tensor in _tensors(scope):
            if tensor.name and known.setdefault(tensor.name, tensor) is not tensor:
                shared.add(tensor.name)
                if isinstance(tensor, gs.Constant) and isinstance(tensor._values, LazyValues):
                    own = onnx.TensorProto()  # the library writes names into the tensors it has read
                    own.CopyFrom(tensor._values.tensor)
                    tensor._values = LazyValues(own)
                tensor.name = free_name(tensor.name, taken)
                known[tensor.name] = tensor
    return shared


def _tensors(scope: gs.Graph) -> list[gs.Tensor]:
    return [*scope.inputs, *scope.outputs, *(each for node in scope.nodes for each in (*node.inputs, *node.outputs))]


def keep_outputs_inside(graph: gs.Graph) -> None:
    """Let a node of the body make what it gives: a constant is the model's, and may not leave the body as it is."""
    taken: set[str] = set()
    for scope in scopes(graph):
        for index, tensor in enumerate(scope.outputs if scope is not graph else ()):
            if isinstance(tensor, gs.Constant):
                taken = taken or graph_names(graph)
                copy = gs.Variable(free_name(f"{tensor.name}/given", taken), tensor.dtype, tensor.shape)
                scope.nodes.append(gs.Node("Identity", copy.name, inputs=[tensor], outputs=[copy]))
                scope.outputs[index] = copy


def take_constant_branches(graph: gs.Graph) -> bool:
    """Put the branch of an If whose condition is constant in its place; tell whether there was one."""
    found = False
    for scope in scopes(graph):
        for node in list(scope.nodes):
            if node.op == "If" and node.outputs and isinstance(node.inputs[0], gs.Constant):
                _take_branch(graph, scope, node)
                found = True
    return found


def _take_branch(graph: gs.Graph, scope: gs.Graph, node: gs.Node) -> None:
    is_true = bool(np.ravel(node.inputs[0].values)[0])
    branch: gs.Graph = node.attrs["then_branch" if is_true else "else_branch"]
    outputs = list(node.outputs)
    node.inputs.clear()
    node.outputs.clear()
    given: dict[int, gs.Tensor] = {}
    for output, result in zip(outputs, branch.outputs, strict=False):
        if isinstance(result, gs.Constant) or id(result) in given:
            label = free_name(f"{output.name}/copy", graph_names(graph))
            source = given.get(id(result), result)
            branch.nodes.append(gs.Node("Identity", label, inputs=[source], outputs=[output]))
            continue
        given[id(result)] = output
        maker = result.inputs[0]
        maker.outputs[[tensor is result for tensor in maker.outputs].index(True)] = output
        for reader in list(result.outputs):
            for index, tensor in enumerate(reader.inputs):
                if tensor is result:
                    reader.inputs[index] = output
    place = next(index for index, other in enumerate(scope.nodes) if other is node)
    scope.nodes[place : place + 1] = branch.nodes
