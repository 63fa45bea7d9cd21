"""From node to node: what each one's rule makes of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx_graphsurgeon as gs
from torch import fx

from graphprune.errors import ModelError
from graphprune.ir.shape_inference import STANDARD_DOMAINS
from graphprune.torch_bridge.arithmetic import fold_numbers
from graphprune.torch_bridge.conversion import Conversion
from graphprune.torch_bridge.node_conversion import NodeConversion
from graphprune.torch_bridge.rules import find_rule
from graphprune.torch_bridge.values import Value


def convert_nodes(conversion: Conversion, nodes: Iterable[gs.Node], opsets: dict[str, int]) -> None:
    """Convert nodes in execution order; those that a rule took along with an earlier one are done already."""
    tensors = conversion.tensors
    for node in nodes:
        source = tensors.absorbed.get(node.outputs[0].name) if node.outputs else None
        if source is not None:
            tensors.values[node.outputs[0].name] = tensors.values[source]
            tensors.learned.add(node.outputs[0].name)
            continue
        domain = "" if node.domain in STANDARD_DOMAINS else node.domain
        reading = NodeConversion(node, conversion, opsets.get(domain, opsets.get("", 1)))
        written = _written(reading, domain)
        learned = reading.is_learned() or any(tensor.name in conversion.parameters.trained for tensor in node.inputs)
        for tensor, value in zip(node.outputs, written, strict=False):
            if tensor.name and tensor.name not in tensors.values:
                tensors.values[tensor.name] = value
                if learned and isinstance(value, fx.Node):  # sizes learn nothing
                    tensors.learned.add(tensor.name)


def _written(node: NodeConversion, domain: str) -> Sequence[Value]:
    """What the outputs of a node become."""
    folded = fold_numbers(node) if not domain else None
    if folded is not None:
        return folded
    rule = find_rule(domain, node.op, node.opset)
    if rule is None:
        name = f"{domain}::{node.op}" if domain else node.op
        raise ModelError(
            f"node '{node.name}' cannot be converted to PyTorch: no rule for the operator {name} (opset {node.opset})",
            "export the model without it, or add a rule to graphprune/torch_bridge/rules",
        )
    found = rule(node)
    return found if isinstance(found, list) else [found]
