"""How many tokens a decoder has positions for, where its tables tell."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from graphprune.decoder.interface import decoder_interface
from graphprune.ir.model import Model, constant_dims

_ROTARY = {
    ("GroupQueryAttention", "com.microsoft"): 7,
    ("RotaryEmbedding", "com.microsoft"): 2,
    ("RotaryEmbedding", ""): 1,
}
"""Operators with a table of cosines [positions, depth], and which input it is."""


def context_length(model: Model) -> int | None:
    """Rows of the smallest table that positions are looked up in; None where there is none, as with computed angles."""
    return model.derived(_context_length)


def _context_length(model: Model) -> int | None:
    interface = decoder_interface(model)
    positions = interface.positions if interface is not None else ""
    rows = []
    for node in model.graph.nodes:
        place = _ROTARY.get((node.op, node.domain or ""))
        if node.op == "Gather" and positions and [tensor.name for tensor in node.inputs[1:]] == [positions]:
            place = 0
        table = node.inputs[place] if place is not None and place < len(node.inputs) else None
        if isinstance(table, gs.Constant) and len(dims := constant_dims(table)) == 2:
            rows.append(dims[0])
    return min(rows, default=None)
