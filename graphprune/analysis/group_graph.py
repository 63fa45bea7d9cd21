"""Units, weights and ops of a model as one networkx graph: who makes a group, who takes it in,
whose weights shrink with it.

Nodes are pairs: ``("group", name)``, ``("op", node)``, ``("weight", initializer)``. Edges go

    weight -> op -> group -> op      as the data does, and
    weight -> group                  where ``axes`` of the weight shrink with the group.

Every op is there that reads a weight of some group; a normalisation, say, is tied to its group by its weights alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import networkx as nx

from graphprune.analysis.dataflow import DataFlow
from graphprune.analysis.groups import Group
from graphprune.analysis.names import layer_label
from graphprune.axes.typing import Typing
from graphprune.ir.model import Model, constant_dims

Vertex = tuple[Literal["group", "op", "weight"], str]


def group_graph(model: Model, typing: Typing, groups: Iterable[Group]) -> nx.DiGraph:
    """The graph of ``groups``.

    Every node has a ``kind`` (of unit, or the operator, or "weight") and a ``label``. Groups have ``size``,
    ``prunable`` and the ``reason`` why not; ops their ``order`` of execution and as ``reason`` why no rule covers them;
    weights their ``shape``. A reason is empty where there is none.
    """
    flow = model.derived(DataFlow)
    effects = {missing.node: missing.effect for missing in typing.missing}
    graph = nx.DiGraph()

    def op(name: str) -> Vertex:
        vertex: Vertex = ("op", name)
        if vertex not in graph:
            label = layer_label(flow, [name])
            reason = effects.get(name, "")
            graph.add_node(vertex, kind=flow.all_nodes[name].op, label=label, order=flow.order[name], reason=reason)
        return vertex

    for group in groups:
        vertex: Vertex = ("group", group.name)
        reason = group.freeze.reason if group.freeze else ""
        graph.add_node(vertex, kind=group.kind, label=group.name, size=group.size, prunable=not reason, reason=reason)
        graph.add_edges_from((op(name), vertex) for name in group.writers)
        graph.add_edges_from((vertex, op(name)) for name in group.readers)
        for use in group.uses:
            tensor = flow.all_nodes[use.node].inputs[use.operand]
            weight: Vertex = ("weight", tensor.name)
            graph.add_node(weight, kind="weight", label=tensor.name, shape=constant_dims(tensor))
            graph.add_edge(weight, op(use.node))
            known = graph.edges[weight, vertex]["axes"] if graph.has_edge(weight, vertex) else ()
            graph.add_edge(weight, vertex, axes=tuple(sorted({*known, use.axis})))
    return graph
