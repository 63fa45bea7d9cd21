"""Put what a module has learned into a copy of the model it was made from: ``write_back``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import torch
from onnx_graphsurgeon.ir.tensor import LazyValues
from torch import nn

from graphprune.errors import InputError
from graphprune.ir.free_names import free_name, names_in
from graphprune.ir.model import Model, constant_dims, constants, read_values
from graphprune.torch_bridge.dtypes import to_array
from graphprune.torch_bridge.layouts import LAYOUTS
from graphprune.torch_bridge.record import Stored, remembered


def write_back(model: Model, module: nn.Module) -> Model:
    """A copy of ``model`` with the present parameters and running statistics of the ``module`` that ``to_torch`` made
    of it.

    Each initialiser keeps its name, shape and type; nothing else changes.
    Statistics that the file shares between norms and that training has driven apart get an initialiser each.

    Raises
    ------
    InputError
        The module does not come from ``to_torch``, or its weights do not fit this model.
    """
    module = _unwrapped(module)
    stored = remembered(module)
    if stored is None:
        raise InputError(
            "the module was not made by to_torch, so its weights have no place in the model",
            "give the module that to_torch returned",
        )
    small = model.copy()
    small.dtypes, small.shapes = dict(model.dtypes), dict(model.shapes)
    found = {constant.name: constant for constant in constants(small.graph)}
    state = module.state_dict(keep_vars=True)
    changed: dict[str, list[tuple[Stored, np.ndarray]]] = defaultdict(list)
    for entry in stored:
        if entry.initialiser not in found:
            raise InputError(
                f"the model has no initialiser '{entry.initialiser}', which the module has a weight for",
                "give the model that the module was made from",
            )
        changed[entry.initialiser].append((entry, _present(entry, state, found[entry.initialiser], model)))
    nodes = {node.name: node for node in small.graph.nodes}
    for name, entries in changed.items():
        _store(small, nodes, found[name], entries)
    return small


def _unwrapped(module: nn.Module) -> nn.Module:
    """The module itself, out of what torch.compile or data-parallel training wrapped around it."""
    for name in ("module", "_orig_mod", "module"):
        inner = module._modules.get(name)
        module = inner if inner is not None and remembered(inner) is not None else module
    return module


def _present(entry: Stored, state: Mapping[str, torch.Tensor], constant: gs.Constant, model: Model) -> np.ndarray:
    """The present value in the file's layout and type."""
    values = read_values(constant, model.folder)
    kind = model.dtypes.get(constant.name) or onnx.helper.np_dtype_to_tensor_dtype(values.dtype)
    missing = [key for key in entry.keys if key not in state]
    if missing:
        raise InputError(f"the module has no weight '{missing[0]}' any more", "give the module that to_torch returned")
    joined = LAYOUTS[entry.layout].join([to_array(state[key], kind) for key in entry.keys])
    if entry.layout == "flat" and joined.size == values.size:
        joined = joined.reshape(values.shape)
    if joined.shape != constant_dims(constant):
        raise InputError(
            f"the weight '{entry.keys[0]}' has the shape {list(joined.shape)}, the model's '{constant.name}' has "
            f"{list(constant_dims(constant))}",
            "give the model that the module was made from",
        )
    return joined


def _store(
    model: Model, nodes: Mapping[str, gs.Node], constant: gs.Constant, entries: list[tuple[Stored, np.ndarray]]
) -> None:
    """One value for all readers, and a constant of its own for each reader that has another one."""
    original = read_values(constant, model.folder)
    common = entries[0][1]
    for number, (entry, values) in enumerate(entries):
        if entry.node and not _is_same(values, common):
            name = free_name(f"{constant.name}/{number}", model.derived(names_in))
            own = gs.Constant(name, _lazy(values, name))
            nodes[entry.node].inputs[entry.operand] = own
            model.shapes[name] = values.shape
            if constant.name in model.dtypes:
                model.dtypes[name] = model.dtypes[constant.name]
    if not _is_same(common, original):
        constant._values = _lazy(common, constant.name)


def _is_same(one: np.ndarray, other: np.ndarray) -> bool:
    return np.ascontiguousarray(one).tobytes() == np.ascontiguousarray(other).tobytes()


def _lazy(values: np.ndarray, name: str) -> LazyValues:
    """Values of any ONNX type; graphsurgeon itself knows NumPy's only."""
    return LazyValues(onnx.numpy_helper.from_array(np.ascontiguousarray(values), name))
