"""Recurrent layers: the input's features may shrink, the hidden state may not."""

from __future__ import annotations

from graphprune.axes.algebra import Axes
from graphprune.axes.rules import NodeTyping, require, rule


@rule("GRU", "LSTM", "RNN")
def recurrent(node: NodeTyping) -> list[Axes] | None:
    """``x (time, N, features)``, ``w (directions, gates * hidden, features)``; layout 1 has N first."""
    op = node.op
    x = require(node.axes(0))
    w = require(node.axes(1))
    node.unify(x[2], w[2])
    node.contract(0, 2)
    batch_first = bool(node.attr("layout", 0))
    node.freeze(x[1 if batch_first else 0], f"{op} steps along it")
    node.freeze_all(w[:2], f"it is the hidden state of {op}")
    for operand in range(2, len(node.inputs)):
        if node.has(operand):
            node.freeze_all(require(node.axes(operand)), f"it is the hidden state of {op}")
    written: list[Axes] = []
    for index, tensor in enumerate(node.outputs):
        if not tensor.name:
            written.append(())
            continue
        shape = require(node.out_shape(index))
        reason = f"it is the hidden state of {op}"
        written.append(tuple(node.frozen(size, reason) for size in shape))
    node.freeze(x[0 if batch_first else 1], f"{op} keeps a state along it")
    return written
