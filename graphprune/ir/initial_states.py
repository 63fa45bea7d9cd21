"""Recurrent layers that begin with zeros need not be told: exporters make one tensor of zeros for all layers.

It would tie the hidden units of all of them together.
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from graphprune.ir.model import is_external

_RECURRENT = ("GRU", "LSTM", "RNN")
_STATES = (5, 6)
_PASS_ON = ("Slice", "Expand", "Unsqueeze", "Squeeze", "Reshape", "Transpose", "Cast", "Identity", "Split", "Tile")


def drop_zero_states(graph: gs.Graph) -> None:
    """Leave out initial states that are zeros, which is what the operators take for those not given."""
    for node in graph.nodes:
        if node.op not in _RECURRENT or node.domain not in (None, "", "ai.onnx"):
            continue
        for operand in _STATES[: max(0, len(node.inputs) - _STATES[0])]:
            if node.inputs[operand].name and _is_zero(node.inputs[operand]):
                node.inputs[operand] = gs.Variable.empty()


def _is_zero(tensor: gs.Tensor) -> bool:
    """Whether every value is known to be zero."""
    while not isinstance(tensor, gs.Constant):
        node = tensor.inputs[0] if tensor.inputs else None
        if node is None:
            return False
        if node.op == "ConstantOfShape":
            value = node.attrs.get("value")
            return value is None or not np.any(value.values)
        if node.op == "Concat":
            return all(map(_is_zero, node.inputs))
        if node.op not in _PASS_ON:
            return False
        tensor = node.inputs[0]
    return not is_external(tensor) and not np.any(tensor.values)
