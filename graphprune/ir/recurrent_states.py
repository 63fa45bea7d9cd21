"""States of recurrent layers, of which exporters make one tensor for all layers: it ties their hidden units together.

Layers that begin with zeros need not be told, and who reads the last state of one layer need not read that of all.
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from graphprune.ir.free_names import free_name, graph_names
from graphprune.ir.model import Shape, is_external
from graphprune.ir.shape_inference import STANDARD_DOMAINS

RECURRENT = ("GRU", "LSTM", "RNN")
_STATES = (5, 6)
_PASS_ON = ("Slice", "Expand", "Unsqueeze", "Squeeze", "Reshape", "Transpose", "Cast", "Identity", "Split", "Tile")


def drop_zero_states(graph: gs.Graph) -> None:
    """Leave out initial states that are zeros, which is what the operators take for those not given."""
    for node in graph.nodes:
        if node.op not in RECURRENT or node.domain not in STANDARD_DOMAINS:
            continue
        for operand in _STATES[: max(0, len(node.inputs) - _STATES[0])]:
            if node.inputs[operand].name and _is_zero(node.inputs[operand]):
                node.inputs[operand] = gs.Variable.empty()


def take_states_apart(graph: gs.Graph, shapes: dict[str, Shape]) -> None:
    """Let a Gather of one of several joined states read that one."""
    taken: set[str] = set()
    for node in graph.nodes:
        joined = node.inputs[0].inputs[0] if node.op == "Gather" and node.inputs[0].inputs else None
        if joined is None or joined.op != "Concat" or not isinstance(node.inputs[1], gs.Constant):
            continue
        sizes = [_size(tensor, joined.attrs["axis"], shapes) for tensor in joined.inputs]
        if None in sizes or node.attrs.get("axis", 0) != joined.attrs["axis"] or node.inputs[1].values.size != 1:
            continue
        ends = np.cumsum([size for size in sizes if size is not None])
        index = int(node.inputs[1].values.item())
        index += int(ends[-1]) if index < 0 else 0
        part = int(np.searchsorted(ends, index, side="right"))
        place = np.full_like(node.inputs[1].values, index - (int(ends[part - 1]) if part else 0))
        taken = taken or graph_names(graph)
        node.inputs[0] = joined.inputs[part]
        node.inputs[1] = gs.Constant(free_name(f"{node.name}/state", taken, ""), place)


def _size(tensor: gs.Tensor, axis: int, shapes: dict[str, Shape]) -> int | None:
    """Of a state along ``axis``; None for what no recurrent layer writes, or of unknown size."""
    shape = shapes.get(tensor.name)
    if not tensor.inputs or tensor.inputs[0].op not in RECURRENT or shape is None or not 0 <= axis < len(shape):
        return None
    size = shape[axis]
    return size if isinstance(size, int) else None


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
