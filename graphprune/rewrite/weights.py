"""Give a layer other numbers: same name, same type, same shape, and nothing else in the graph is touched."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx_graphsurgeon.ir.tensor import LazyValues

from graphprune.errors import GraphpruneError
from graphprune.ir.model import Model, constant_dims, read_values


def new_constant(name: str, values: np.ndarray) -> gs.Constant:
    """A constant of any ONNX type; graphsurgeon itself knows NumPy's only."""
    return gs.Constant(name, LazyValues(onnx.numpy_helper.from_array(np.ascontiguousarray(values), name)))


def set_values(model: Model, node: gs.Node, operand: int, values: np.ndarray) -> None:
    """Put ``values`` in place of the constant that ``node``, and nobody else, reads at ``operand``.

    Raises
    ------
    GraphpruneError
        The shape differs, or the constant has other readers.
    """
    old = node.inputs[operand]
    if len(old.outputs) != 1 or constant_dims(old) != values.shape:
        raise GraphpruneError(f"the weights '{old.name}' of {node.name} cannot be replaced", "please report this")
    dtype = read_values(old, model.folder).dtype
    node.inputs[operand] = new_constant(old.name, values.astype(dtype))
