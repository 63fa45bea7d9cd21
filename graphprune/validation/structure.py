"""Whether a graph hangs together: every tensor that is read was made before, once. No session, no copy."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from graphprune.errors import ValidationFailed
from graphprune.ir.bodies import bodies
from graphprune.ir.model import Model, node_reads


def check_structure(model: Model, after: str) -> None:
    """Refuse a graph that does not hang together; ``after`` says what left it so.

    Raises
    ------
    ValidationFailed
        A node or an output reads what nothing makes, or makes later; or two nodes make or are called the same,
        or two constants are.
    """
    fault = _fault(model)
    if fault:
        raise ValidationFailed(
            f"the network after {after} does not hang together: {fault}", "report it; nothing was written"
        )


def _fault(model: Model) -> str:
    return _fault_in(model.graph, set(), set(), {})


def _fault_in(graph: gs.Graph, outside: set[str], names: set[str], known: dict[str, gs.Constant]) -> str:
    """As above, for a body that may read what is made ``outside``; ``names`` and ``known`` grow on the way."""
    made = outside | {tensor.name for tensor in graph.inputs}
    for node in graph.nodes:
        for body in bodies(node):
            if fault := _fault_in(body, made, names, known):
                return fault
        if node.name in names:
            return f"two nodes are called {node.name}"
        names.add(node.name)
        for tensor in node_reads(node):
            if isinstance(tensor, gs.Constant):
                if known.setdefault(tensor.name, tensor) is not tensor or tensor.name in made:
                    return f"{node.op} node {node.name} reads one of two tensors called {tensor.name}"
            elif tensor.name not in made:
                return f"{node.op} node {node.name} reads {tensor.name}, which nothing has made by then"
        for tensor in node.outputs:
            if tensor.name in made:
                return f"{tensor.name} is made twice, the second time by {node.op} node {node.name}"
            made.update([tensor.name] if tensor.name else [])
    for tensor in graph.outputs:
        if tensor.name not in made and not isinstance(tensor, gs.Constant):
            return f"nothing makes the output {tensor.name}"
    return ""
