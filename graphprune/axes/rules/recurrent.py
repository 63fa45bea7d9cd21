"""Recurrent layers: the input's features may shrink, the hidden state may not."""

from __future__ import annotations

from graphprune.axes.algebra import Axes
from graphprune.axes.rules import Site, require, rule


@rule("GRU", "LSTM", "RNN")
def recurrent(site: Site) -> list[Axes] | None:
    """``x (time, N, features)``, ``w (directions, gates * hidden, features)``; layout 1 has N first."""
    op = site.node.op
    x = require(site.axes(0))
    w = require(site.axes(1))
    site.unify(x[2], w[2])
    site.contract(0, 2)
    batch_first = bool(site.attr("layout", 0))
    site.freeze(x[1 if batch_first else 0], f"{op} steps along it")
    site.freeze_all(w[:2], f"it is the hidden state of {op}")
    for operand in range(2, len(site.node.inputs)):
        if site.has(operand):
            site.freeze_all(require(site.axes(operand)), f"it is the hidden state of {op}")
    written: list[Axes] = []
    for index, tensor in enumerate(site.node.outputs):
        if not tensor.name:
            written.append(())
            continue
        shape = require(site.out_shape(index))
        reason = f"it is the hidden state of {op}"
        written.append(tuple(site.frozen(size, reason) for size in shape))
    site.freeze(x[0 if batch_first else 1], f"{op} keeps a state along it")
    return written
