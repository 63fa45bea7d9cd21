"""The data flow of a model as networkx graphs, with dominance answered per operand.

Nodes are the model's node names. Constants carry no data and make no edges. Nodes in the bodies of others have
a name and a place, but no edges: their flow is that of the node that holds them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import networkx as nx
import onnx_graphsurgeon as gs

from graphprune.decoder.interface import CacheTensor, decoder_interface
from graphprune.ir.asked_shapes import SHAPE_OPS
from graphprune.ir.bodies import all_nodes
from graphprune.ir.model import Model, node_reads, outer_reads

_SINK = "\0sink"
_WEIGHTED = {
    "Conv",
    "ConvTranspose",
    "Gemm",
    "MatMul",
    "MatMulInteger",
    "QLinearConv",
    "Attention",
    "Einsum",
    "LSTM",
    "GRU",
    "RNN",
}


def is_weighted(node: gs.Node) -> bool:
    """Whether a node is a layer: it multiplies data by weights, or by other data (attention)."""
    return node.op in _WEIGHTED


class DataFlow:
    """Producers, readers, ancestors and exclusive regions of a model: ``model.derived(DataFlow)``,
    made once for each.

    ``is_body`` tells that the model's graph is the body of a node, which may give what it is given.
    """

    def __init__(self, model: Model, *, is_body: bool = False) -> None:
        self.model = model
        self.is_body = is_body
        self.nodes: dict[str, gs.Node] = {node.name: node for node in model.graph.nodes}
        self.all_nodes: dict[str, gs.Node] = {node.name: node for node in all_nodes(model.graph)}
        self.order: dict[str, int] = {name: index for index, name in enumerate(self.all_nodes)}
        self.outputs: set[str] = {tensor.name for tensor in model.graph.outputs}
        self.inputs: set[str] = {tensor.name for tensor in model.graph.inputs}
        decoder = decoder_interface(model)
        self.cache: tuple[CacheTensor, ...] = () if decoder is None else decoder.cache
        self.producer: dict[str, str] = {t.name: n.name for n in model.graph.nodes for t in n.outputs if t.name}
        self.readers: dict[str, list[str]] = defaultdict(list)
        self.read_by_subgraphs: set[str] = set()
        self._values = nx.DiGraph()
        self._values.add_nodes_from(self.nodes)
        for node in model.graph.nodes:
            self.read_by_subgraphs.update(tensor.name for tensor in outer_reads(node))
            for name in self.data_reads(node.name):
                self.readers[name].append(node.name)
                if name in self.producer and node.op not in SHAPE_OPS:
                    self._values.add_edge(self.producer[name], node.name)

    def data_reads(self, node: str) -> list[str]:
        """Names of the non-constant tensors a node reads."""
        return [t.name for t in node_reads(self.nodes[node]) if not isinstance(t, gs.Constant)]

    def maker(self, tensor: str) -> gs.Node | None:
        """The node that makes ``tensor``; None for an input of the model."""
        return self.nodes.get(self.producer.get(tensor, ""))

    def producer_input(self, tensor: str) -> str:
        """The first data input of the node that makes ``tensor``."""
        return self.data_reads(self.producer[tensor])[0]

    def ancestors(self, tensor: str, since: int = 0) -> set[str]:
        """Every node whose values ``tensor`` is computed from, its producer included; a shape is no value.

        Nodes before position ``since`` in execution order are left out.
        """
        producer = self.producer.get(tensor)
        return self._reach([] if producer is None else [producer], self._values.pred, since, len(self.order))

    def descendants(self, tensor: str, until: str) -> set[str]:
        """Every node before ``until`` that the values of ``tensor`` take part in; asking for its shape is not that."""
        readers = [name for name in self.readers.get(tensor, ()) if self.nodes[name].op not in SHAPE_OPS]
        return self._reach(readers, self._values.succ, 0, self.order[until])

    def _reach(self, first: list[str], step: Mapping[str, Iterable[str]], since: int, until: int) -> set[str]:
        """Nodes reached by ``step`` with positions in [since, until): what lies between two joins is small."""
        stack = [name for name in first if since <= self.order[name] < until]
        found = set(stack)
        while stack:
            for name in step[stack.pop()]:
                if name not in found and since <= self.order[name] < until:
                    found.add(name)
                    stack.append(name)
        return found

    def exclusive(self, node: str, operands: Sequence[int]) -> set[str]:
        """The nodes whose values reach the outputs only through the inputs ``operands`` of ``node``.

        They are what the operand post-dominates: the subtree below it in the dominator tree of the reversed flow. What
        several operands share hangs below the node itself.
        """
        members: set[str] = set()
        stack = [vertex for operand in operands for vertex in self._dominated[_edge(node, operand)]]
        if len(operands) > 1:
            edges = {_edge(node, index) for index in range(len(self.nodes[node].inputs))}
            others = [tensor.name for index, tensor in enumerate(self.nodes[node].inputs) if index not in operands]
            elsewhere = set().union(*map(self.ancestors, others))
            stack += [vertex for vertex in self._dominated[node] if vertex not in edges | elsewhere]
        while stack:
            name = stack.pop()
            if name in self.nodes:
                members.add(name)
            stack.extend(self._dominated[name])
        return members

    def post_dominator(self, node: str) -> str | None:
        """The nearest node that every path from ``node`` to an output passes, or None at the end of the graph."""
        vertex = self._post_dominators.get(node)
        while vertex is not None and vertex not in self.nodes and vertex != _SINK:
            vertex = self._post_dominators.get(vertex)
        return vertex if vertex in self.nodes else None

    @cached_property
    def _dominated(self) -> dict[str, list[str]]:
        """Children in the tree of :attr:`_post_dominators`."""
        children: dict[str, list[str]] = defaultdict(list)
        for vertex, dominator in self._post_dominators.items():
            children[dominator].append(vertex)
        return children

    @cached_property
    def _post_dominators(self) -> dict[str, str]:
        """Immediate dominators of the reversed flow, rooted in a sink that reads the graph's outputs.

        Each operand of a node is a vertex of its own, so that one tree answers for every branch. What a decoder puts in
        its cache is no output: the next step reads it where it takes the past.
        """
        reverse = nx.DiGraph()
        reverse.add_node(_SINK)
        handed_on: dict[str, list[str]] = {}
        for tensor in self.cache:
            readers = [name for name in self.readers.get(tensor.past, ()) if self.nodes[name].op not in SHAPE_OPS]
            if readers and tensor.present in self.producer:
                handed_on[tensor.present] = readers
        for name in self.outputs:
            if name in self.producer:
                for reader in handed_on.get(name, [_SINK]):
                    reverse.add_edge(reader, self.producer[name])
        for node in self.nodes.values():
            for index, tensor in enumerate(node_reads(node)):
                if tensor.name in self.producer and not isinstance(tensor, gs.Constant):
                    reverse.add_edge(node.name, _edge(node.name, index))
                    reverse.add_edge(_edge(node.name, index), self.producer[tensor.name])
        found = nx.immediate_dominators(reverse, _SINK)
        return {vertex: dominator for vertex, dominator in found.items() if dominator is not None and vertex != _SINK}


def _edge(node: str, operand: int) -> str:
    return f"{node}\0{operand}"
