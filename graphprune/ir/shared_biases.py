"""Quantised biases that exporters share because they are equal, such as zeros: every layer gets a node of its own.

Constants are typed once for each use. What a DequantizeLinear writes is a tensor like others, and would tie together
all layers that read it.
"""

from __future__ import annotations

import onnx_graphsurgeon as gs

from graphprune.ir.free_names import free_name, graph_names
from graphprune.ir.quantised import weight_dims


def part_biases(graph: gs.Graph) -> None:
    """Copy a DequantizeLinear of a constant vector for all of its readers but the first; the constant stays one."""
    outputs = {tensor.name for tensor in graph.outputs}
    taken: set[str] = set()
    for node in list(graph.nodes):
        if node.op != "DequantizeLinear" or len(weight_dims(node, 0) or ()) != 1 or node.outputs[0].name in outputs:
            continue
        shared = node.outputs[0]
        for reader in list({id(reader): reader for reader in shared.outputs}.values())[1:]:
            taken = taken or graph_names(graph)
            label = free_name(shared.name, taken, "/")
            copy = gs.Variable(label, dtype=shared.dtype, shape=shared.shape)
            attributes = dict(node.attrs)
            graph.nodes.append(
                gs.Node(node.op, label, attributes, inputs=list(node.inputs), outputs=[copy], domain=node.domain)
            )
            for index, tensor in enumerate(reader.inputs):
                if tensor is shared:
                    reader.inputs[index] = copy
