"""What the file says of its tensors and nodes."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import onnx_graphsurgeon as gs
import torch
from onnx.helper import np_dtype_to_tensor_dtype

from graphprune.analysis.dataflow import DataFlow
from graphprune.analysis.names import layer_path
from graphprune.ir.model import Model, Shape, read_values
from graphprune.torch_bridge.dtypes import torch_dtype

_KEPT_BYTES = 1 << 16


class Source:
    """The model that is converted, as the rules ask it."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._arrays: dict[str, np.ndarray] = {}

    @cached_property
    def view(self) -> DataFlow:
        """Who reads what."""
        return DataFlow(self.model)

    def shape(self, name: str) -> Shape | None:
        """Symbolic shape of a tensor, as far as it is known."""
        return self.model.shapes.get(name)

    def dtype(self, name: str) -> torch.dtype | None:
        """The type of a tensor, where it is known."""
        kind = self.model.dtypes.get(name)
        return torch_dtype(kind, f"tensor '{name}'") if kind else None

    def array(self, constant: gs.Constant) -> np.ndarray:
        """What a constant holds; small ones are read once."""
        if constant.name not in self._arrays:
            values = read_values(constant, self.model.folder)
            if values.nbytes > _KEPT_BYTES:
                return values
            self._arrays[constant.name] = values
        return self._arrays[constant.name]

    def kind(self, constant: gs.Constant) -> int:
        """TensorProto.DataType of a constant."""
        kind = self.model.dtypes.get(constant.name)
        return kind or int(np_dtype_to_tensor_dtype(self.array(constant).dtype))

    def layer_path(self, node: str) -> str:
        """A path for a layer from what its node and weights are called."""
        return ".".join(layer_path(self.view, node)) or node
