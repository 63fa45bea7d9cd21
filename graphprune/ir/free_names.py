"""Names for what the project adds to a graph: none that the graph or a subgraph of it holds already."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, count
from typing import TYPE_CHECKING

import onnx

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
    return {*_names(model.graph), *(value.name for value in model.header.graph.input)}


def _names(graph: gs.Graph) -> Iterator[str]:
    yield from (tensor.name for tensor in (*graph.inputs, *graph.outputs))
    for node in graph.nodes:
        yield from (node.name, *(tensor.name for tensor in (*node.inputs, *node.outputs)))
        for body in node.attrs.values():
            if hasattr(body, "nodes"):
                yield from _names(body)


def tensor_names(graph: onnx.GraphProto) -> set[str]:
    """Names of all tensors of an exported graph, inside subgraphs, too."""
    found = {value.name for value in (*graph.input, *graph.output, *graph.initializer)}
    for node in graph.node:
        found.update(node.input, node.output)
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                found |= tensor_names(attribute.g)
    return found
