"""From node to node: what each one's rule makes of it."""

from __future__ import annotations

from collections.abc import Iterable

import onnx_graphsurgeon as gs
from torch import fx

from graphprune.errors import ModelError
from graphprune.torch_bridge.arithmetic import fold_numbers
from graphprune.torch_bridge.builder import Builder
from graphprune.torch_bridge.rules import Site, find_rule
from graphprune.torch_bridge.values import Value

_STANDARD_DOMAINS = (None, "", "ai.onnx")


def convert_nodes(builder: Builder, nodes: Iterable[gs.Node], opsets: dict[str, int]) -> None:
    """Convert nodes in execution order; those that a rule took along with an earlier one are done already."""
    for node in nodes:
        source = builder.absorbed.get(node.outputs[0].name) if node.outputs else None
        if source is not None:
            builder.values[node.outputs[0].name] = builder.values[source]
            builder.learned.add(node.outputs[0].name)
            continue
        domain = "" if node.domain in _STANDARD_DOMAINS else node.domain
        site = Site(node, builder, opsets.get(domain, opsets.get("", 1)))
        found: Value | list[Value] | None = _folded(site) if not domain else None
        if found is None:
            rule = find_rule(domain, node.op, site.opset)
            if rule is None:
                name = f"{domain}::{node.op}" if domain else node.op
                raise ModelError(
                    f"node '{node.name}' cannot be converted to PyTorch: no rule for the operator {name} "
                    f"(opset {site.opset})",
                    "export the model without it, or add a rule to graphprune/torch_bridge/rules",
                )
            found = rule(site)
        written = found if isinstance(found, list) else [found]
        learned = site.is_learned() or any(tensor.name in builder.trained for tensor in node.inputs)
        for tensor, value in zip(node.outputs, written, strict=False):
            if tensor.name and tensor.name not in builder.values:
                builder.values[tensor.name] = value
                if learned and isinstance(value, fx.Node):  # sizes learn nothing
                    builder.learned.add(tensor.name)


def _folded(site: Site) -> Value | list[Value] | None:
    found = fold_numbers(site)
    return list(found) if isinstance(found, list) else found
