"""A module where a model file is expected."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from graphprune.data.batching import LABEL_NAMES
from graphprune.errors import OptionError

if TYPE_CHECKING:
    from torch import nn
    from typing_extensions import TypeIs

_EXAMPLE_ROWS = 2  # a batch of one is easily taken for a constant


def is_module(source: Any) -> TypeIs[nn.Module]:
    """Whether ``source`` is a ``torch.nn.Module``; torch is not imported to find out."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(source, torch.nn.Module)


def proto_of(module: Any, example: Any, data: Any) -> onnx.ModelProto:
    """The module as a ModelProto, BatchNorm left apart so that all parameters keep their names.

    ``example`` is what the module is called with; by default the first samples of ``data``,
    if that is an array or a mapping of arrays by the names of its arguments.

    Raises
    ------
    OptionError
        There is no example.
    ModelError
        The module cannot be exported.
    """
    from graphprune.torch_bridge.export import from_torch

    source = from_torch(module, _example(data) if example is None else example, keep_norms=True).source
    assert isinstance(source, onnx.ModelProto)  # it came from no file
    return source


def _example(data: Any) -> Any:
    import torch

    if isinstance(data, np.ndarray | torch.Tensor):
        return torch.as_tensor(data[:_EXAMPLE_ROWS])
    if isinstance(data, Mapping):
        return {name: torch.as_tensor(rows[:_EXAMPLE_ROWS]) for name, rows in data.items() if name not in LABEL_NAMES}
    raise OptionError("a module was given, but nothing that it is called with", "add example=, e.g. one input tensor")
