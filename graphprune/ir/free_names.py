"""Names for what the project adds to a graph: none that the graph or a subgraph of it holds already."""

from __future__ import annotations

from itertools import chain, count
from typing import TYPE_CHECKING

import onnx

from graphprune.ir.bodies import graphs_of, scopes
from graphprune.ir.model import Model

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs


def free_name(wanted: str, taken: set[str], join: str = ".") -> str:
    """``wanted``, or with the first number behind it that makes it free; from then on it is ``taken``."""
    numbered = (f"{wanted}{join}{number}" for number in count(1))
    name = next(name for name in chain([wanted], numbered) if name not in taken)
    taken.add(name)
    return name


def names_in(model: Model) -> set[str]:
    """Names of all nodes and tensors, inside subgraphs, too: an inner tensor must not be called as an outer one."""
    return graph_names(model.graph) | {value.name for value in model.header.graph.input}


def graph_names(graph: gs.Graph) -> set[str]:
    """As :func:`names_in`, of a graph that is no model yet."""
    found: set[str] = set()
    for scope in scopes(graph):
        found.update(tensor.name for tensor in (*scope.inputs, *scope.outputs))
        for node in scope.nodes:
            found.update((node.name, *(tensor.name for tensor in (*node.inputs, *node.outputs))))
    return found


def tensor_names(graph: onnx.GraphProto) -> set[str]:
    """Names of all tensors of an exported graph, inside subgraphs, too."""
    found: set[str] = set()
    for scope in graphs_of(graph):
        found.update(value.name for value in (*scope.input, *scope.output, *scope.initializer))
        for node in scope.node:
            found.update((*node.input, *node.output))
    return found
