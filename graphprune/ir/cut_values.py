"""Weights of a large file of which only some indices are left: they stay in the file, and are read and cut when asked
for. In memory, the weights of a cut model would lie beside the runtime's own copy of the original.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx_graphsurgeon.importers.onnx_importer import get_itemsize, get_onnx_tensor_dtype
from onnx_graphsurgeon.ir.tensor import LazyValues

from graphprune.ir import external_data


class CutValues(LazyValues):  # type: ignore[misc]  # the library has no types
    """What ``masks``, one for each axis, leave of ``source``, a tensor whose bytes lie in ``folder``, or cut before."""

    def __init__(self, source: onnx.TensorProto | CutValues, folder: Path, masks: Sequence[np.ndarray]) -> None:
        self._source, self._folder, self._masks = source, folder, tuple(masks)
        self.shape = tuple(int(np.count_nonzero(mask)) for mask in masks)
        self.dtype: Any = source.dtype if isinstance(source, CutValues) else get_onnx_tensor_dtype(source)
        self.nbytes = prod(self.shape) * get_itemsize(self.dtype)

    def load(self) -> np.ndarray:
        """The values; nobody keeps them."""
        source = self._source
        if isinstance(source, CutValues):
            return cut(source.load(), self._masks)
        return cut(onnx.numpy_helper.to_array(external_data.read(source, self._folder)), self._masks)

    @property
    def tensor(self) -> onnx.TensorProto:
        """A tensor that carries the values, made anew."""
        return onnx.numpy_helper.from_array(np.ascontiguousarray(self.load()))


def cut(values: np.ndarray, masks: Sequence[np.ndarray]) -> np.ndarray:
    """``values`` at the indices that ``masks``, one for each axis, leave."""
    for axis, mask in enumerate(masks):
        if not mask.all():
            values = np.compress(mask, values, axis=axis)
    return values
