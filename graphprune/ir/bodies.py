"""The bodies of If, Loop and Scan: graphs inside a node, which read what the graphs around them have made.

After normalisation no two nodes and no two tensors of a model share a name, whatever body they lie in.
A body holds no weights: those that it reads belong to the model, as all others do.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import onnx

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs


def bodies(node: gs.Node) -> list[gs.Graph]:
    """The graphs inside ``node``; none for most."""
    return [value for value in node.attrs.values() if hasattr(value, "nodes")]


def scopes(graph: gs.Graph) -> Iterator[gs.Graph]:
    """``graph`` and every body in it, those inside others after them."""
    yield graph
    for node in graph.nodes:
        for body in bodies(node):
            yield from scopes(body)


def all_nodes(graph: gs.Graph) -> Iterator[gs.Node]:
    """Every node of ``graph`` and of the bodies in it, in order; a body comes before the node that holds it."""
    for node in graph.nodes:
        yield from with_bodies(node)


def with_bodies(node: gs.Node) -> Iterator[gs.Node]:
    """The nodes of the bodies of ``node``, and then ``node``."""
    for body in bodies(node):
        yield from all_nodes(body)
    yield node


def graphs_of(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """As :func:`scopes`, of a graph as protobuf."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from graphs_of(attribute.g)


def owners(graph: gs.Graph) -> dict[str, gs.Node]:
    """Name of a node in a body -> the node of ``graph`` that holds it, at whatever depth."""
    return {inner.name: node for node in graph.nodes for inner in with_bodies(node) if inner is not node}
