"""A model as a module: ``to_torch``."""

from __future__ import annotations

import importlib
import os
import pkgutil
from pathlib import Path

import onnx
from torch import fx

from graphprune.ir.loading import load
from graphprune.ir.model import Model
from graphprune.torch_bridge import rules
from graphprune.torch_bridge.conversion import Conversion
from graphprune.torch_bridge.walk import convert_nodes

for _module in pkgutil.iter_modules(rules.__path__):
    importlib.import_module(f"{rules.__name__}.{_module.name}")


def to_torch(source: Model | str | os.PathLike[str] | onnx.ModelProto) -> fx.GraphModule:
    """The model as a module of ordinary layers, with the model's weights, in eval mode.

    ``forward`` takes the inputs in the order of the graph and returns the output, or a tuple of them in that order.
    Layers stand where their weights' names say (``layer1.0.conv1.weight`` is that key of the state dict),
    dense layers whose weights lost their name where their node says. :mod:`graphprune.torch_bridge.weights` says which
    constants are parameters. A free batch axis stays free. It can be trained, compiled and run under autocast; Dropout
    was already removed on loading.

    Raises
    ------
    ModelError
        The model cannot be read, or a node has an operator, or a use of one, that no rule converts.
    """
    model = source if isinstance(source, Model) else load(Path(source) if isinstance(source, str) else source)
    conversion = Conversion(model)
    for tensor in model.graph.inputs:
        conversion.tensors.add_input(tensor.name)
    opsets = {entry.domain: entry.version for entry in model.header.opset_import}
    convert_nodes(conversion, model.graph.nodes, opsets)
    return conversion.finish()
