"""Whether a network is a language model: it reads numbers of tokens, and scores every token of its vocabulary."""

from __future__ import annotations

import onnx
import onnx_graphsurgeon as gs

from graphprune.analysis.sizes import Sizes
from graphprune.ir.model import Model, constant_dims

_IDS = (onnx.TensorProto.INT32, onnx.TensorProto.INT64)
_SAME = ("Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten")
"""What leaves the numbers as they are."""
_RANK = 3  # samples, tokens, scores
_TABLE_RANK = 2


def is_language_model(model: Model, sizes: Sizes) -> bool:
    """Whether rows are gathered from a table by an input, and an output has a score for each row of it."""
    ids = {tensor.name for tensor in model.graph.inputs if model.dtypes.get(tensor.name) in _IDS}
    tables = set()
    for node in model.graph.nodes:  # in topological order
        if node.op in _SAME and node.inputs[0].name in ids:
            ids.add(node.outputs[0].name)
        elif node.op == "Gather" and node.inputs[1].name in ids and _is_weight(node.inputs[0]):
            dims = _dims(node.inputs[0], sizes)
            tables |= {dims[0]} if len(dims) == _TABLE_RANK else set()
    outputs = (sizes.get(tensor.name, ()) for tensor in model.graph.outputs)
    return any(len(size) == _RANK and size[-1] in tables for size in outputs)


def _is_weight(tensor: gs.Tensor) -> bool:
    """Whether it is a constant or made of constants, as an embedding is that is the last layer transposed."""
    made_by = tensor.inputs[0].inputs if tensor.inputs else []
    return isinstance(tensor, gs.Constant) or (bool(made_by) and all(map(_is_weight, made_by)))


def _dims(tensor: gs.Tensor, sizes: Sizes) -> tuple[int, ...]:
    return constant_dims(tensor) if isinstance(tensor, gs.Constant) else tuple(sizes.get(tensor.name, ()))
