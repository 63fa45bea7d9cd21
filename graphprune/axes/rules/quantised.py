"""Rounding to few values and back: each number on its own, with one scale for all or one for each index of an axis;
and layers whose weights are a few bits each.
"""

from __future__ import annotations

from graphprune.axes.algebra import Axes, size_of
from graphprune.axes.rules import CONTRIB, NodeTyping, require, rule
from graphprune.ir.quantised import rounding_axis


@rule("QuantizeLinear", "DequantizeLinear")
@rule("QuantizeLinear", "DequantizeLinear", domain=CONTRIB)
def rounded(node: NodeTyping) -> list[Axes] | None:
    """``x``, scales and zero points: one, a vector along ``axis``, or (opset 21) one for each block of it."""
    x = require(node.axes(0))
    axis = rounding_axis(node.node, len(x)) if x else 0
    for operand in (1, 2):
        numbers = require(node.axes(operand)) if node.has(operand) else ()
        if len(numbers) == 1 and size_of(numbers[0]) > 1:
            node.unify(numbers[0], x[axis])
        elif len(numbers) > 1:
            for index, (own, other) in enumerate(zip(numbers, x, strict=True)):
                if index == axis:
                    node.freeze_all((own, other), "blocks of it share a scale")
                else:
                    node.unify(own, other)
    return [x]


@rule("MatMulNBits", domain=CONTRIB)
def few_bits(node: NodeTyping) -> list[Axes] | None:
    """``a (..., K)`` times weights of K x N numbers, packed in blocks along K that share a scale: both stay whole."""
    a = require(node.axes(0))
    reason = "the weights are quantised in blocks"
    for operand in range(1, len(node.inputs)):
        node.freeze_all((node.axes(operand) or ()) if node.has(operand) else (), reason)
    node.freeze(a[-1], reason)
    return [(*a[:-1], node.frozen(node.attr("N"), reason))]
