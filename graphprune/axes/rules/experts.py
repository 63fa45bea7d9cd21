"""Mixtures of experts in one operator: a token goes to the ``k`` of highest score, and their weights lie in stacks."""

from __future__ import annotations

from graphprune.axes.algebra import Axes, size_of
from graphprune.axes.rules import CONTRIB, NodeTyping, require, rule

_MIXING = 14  # the operand of QMoE that has weights (tokens, experts), to mix by others than it chooses by


@rule("MoE", "QMoE", domain=CONTRIB)
def experts(node: NodeTyping) -> list[Axes] | None:
    """``x (..., width)``, scores ``(tokens, experts)``; stacks ``(experts, ...)`` of weights, biases and scales."""
    x, scores = require(node.axes(0)), require(node.axes(1))
    node.freeze(x[-1], f"it is given to the experts of {node.op}")
    node.choose(1, 1, node.attr("k", 1))
    for operand in range(2, len(node.inputs)):
        axes = node.axes(operand) or ()
        each, rest = (axes[1:], axes[:1]) if operand == _MIXING else (axes[:1], axes[1:])
        for axis in each:
            if size_of(axis) > 1:  # a scale may be one for all
                node.unify(axis, scores[1])
        node.freeze_all(rest, f"{node.op} holds its experts whole")
    return [x]
