"""Give a layer other numbers: same name, same type, same shape, and nothing else in the graph is touched."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx_graphsurgeon.ir.tensor import LazyValues

from graphprune.errors import GraphpruneError
from graphprune.ir.cut_values import CutValues, cut
from graphprune.ir.model import Model, constant_dims, is_external, read_values


def new_constant(name: str, values: np.ndarray) -> gs.Constant:
    """A constant of any ONNX type; graphsurgeon itself knows NumPy's only."""
    return gs.Constant(name, LazyValues(onnx.numpy_helper.from_array(np.asarray(values, order="C"), name)))


def cut_constant(name: str, original: gs.Constant, folder: Path | None, masks: Sequence[np.ndarray]) -> gs.Constant:
    """What ``masks``, one for each axis, leave of ``original``; what lies in a file stays there."""
    values = original._values
    if folder is not None and (isinstance(values, CutValues) or is_external(original)):
        return gs.Constant(name, CutValues(values if isinstance(values, CutValues) else values.tensor, folder, masks))
    return new_constant(name, cut(read_values(original, folder), masks))


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
