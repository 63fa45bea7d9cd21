"""ONNX element types and NumPy arrays in torch's terms, and back."""

from __future__ import annotations

import numpy as np
import onnx
import torch

from graphprune.errors import ModelError

_KINDS: dict[int, torch.dtype] = {
    onnx.TensorProto.FLOAT: torch.float32,
    onnx.TensorProto.DOUBLE: torch.float64,
    onnx.TensorProto.FLOAT16: torch.float16,
    onnx.TensorProto.BFLOAT16: torch.bfloat16,
    onnx.TensorProto.BOOL: torch.bool,
    onnx.TensorProto.INT8: torch.int8,
    onnx.TensorProto.INT16: torch.int16,
    onnx.TensorProto.INT32: torch.int32,
    onnx.TensorProto.INT64: torch.int64,
    onnx.TensorProto.UINT8: torch.uint8,
    onnx.TensorProto.UINT16: torch.uint16,
    onnx.TensorProto.UINT32: torch.uint32,
    onnx.TensorProto.UINT64: torch.uint64,
    onnx.TensorProto.COMPLEX64: torch.complex64,
    onnx.TensorProto.COMPLEX128: torch.complex128,
}


def torch_dtype(kind: int, where: str) -> torch.dtype:
    """The torch type of a TensorProto.DataType number.

    Raises
    ------
    ModelError
        torch has no such type; ``where`` says who asked.
    """
    if kind not in _KINDS:
        name = onnx.TensorProto.DataType.Name(kind)
        raise ModelError(f"{where} has the type {name}, which torch does not compute with", "export it as float32")
    return _KINDS[kind]


def is_floating(kind: int) -> bool:
    """Whether numbers of this TensorProto.DataType can be trained."""
    return kind in _KINDS and _KINDS[kind].is_floating_point


def to_tensor(values: np.ndarray) -> torch.Tensor:
    """A tensor with its own memory; bfloat16 goes over as bits, for NumPy has no such type of its own."""
    if values.dtype.name == "bfloat16":
        return torch.from_numpy(values.view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(np.array(values, order="C"))


def to_array(tensor: torch.Tensor, kind: int) -> np.ndarray:
    """The values of a tensor as an array of the given TensorProto.DataType."""
    tensor = tensor.detach().to("cpu", _KINDS[kind]).contiguous()
    if kind == onnx.TensorProto.BFLOAT16:
        bits: np.ndarray = tensor.view(torch.int16).numpy().view(onnx.helper.tensor_dtype_to_np_dtype(kind))
        return bits
    values: np.ndarray = tensor.numpy()
    return values
