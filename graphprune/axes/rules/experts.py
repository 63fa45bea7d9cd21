"""Mixtures of experts in one operator: which experts a token goes to hangs on all of them."""

from __future__ import annotations

from graphprune.axes.algebra import Axes
from graphprune.axes.rules import CONTRIB, NodeTyping, require, rule


@rule("MoE", "QMoE", domain=CONTRIB)
def experts(node: NodeTyping) -> list[Axes] | None:
    """``x (..., width)``, scores ``(tokens, experts)`` and stacked weights: all but the tokens stay whole."""
    x = require(node.axes(0))
    node.freeze(x[-1], f"it is given to the experts of {node.op}")
    for operand in range(1, len(node.inputs)):
        axes = (node.axes(operand) or ()) if node.has(operand) else ()
        node.freeze_all(axes, f"{node.op} chooses among all experts")
    return [x]
