"""``test_data_set_0/input_0.pb``: the samples that model zoos and ONNX Runtime's tools keep beside a model."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from graphprune.errors import DataError


def sets(folder: Path) -> list[list[Path]]:
    """The files of each set in ``folder``, or of the folder itself if it is one; in the order of their numbers."""
    named = [(number, each) for each in folder.iterdir() if (number := _number(each.name, r"test_data_set_(\d+)"))]
    found = [_inputs(each) for _, each in sorted(named)] or [_inputs(folder)]
    return [files for files in found if files]


def feed(files: list[Path]) -> dict[str, np.ndarray] | tuple[np.ndarray, ...]:
    """The arrays of one set: by the names of the tensors, or in order where a tensor has none.

    Raises
    ------
    DataError
        A file is no tensor, or a number is missing among the files.
    """
    tensors = [_tensor(path) for path in files]
    arrays = [_array(tensor, path) for tensor, path in zip(tensors, files, strict=True)]
    names = [tensor.name for tensor in tensors]
    if all(names) and len(set(names)) == len(names):
        return dict(zip(names, arrays, strict=True))
    for index, path in enumerate(files):
        if path.name != f"input_{index}.pb":
            raise DataError(f"{path.parent} holds {path.name} but no input_{index}.pb", "add the missing file")
    return tuple(arrays)


def _number(name: str, pattern: str) -> tuple[int, str] | None:
    """What to sort by; a name that does not match has none."""
    match = re.fullmatch(pattern, name)
    return (int(match[1]), name) if match else None


def _inputs(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    named = [(number, file) for file in folder.iterdir() if (number := _number(file.name, r"input_(\d+)\.pb"))]
    return [file for _, file in sorted(named)]


def _tensor(path: Path) -> onnx.TensorProto:
    tensor = onnx.TensorProto()
    try:
        tensor.ParseFromString(path.read_bytes())
    except (OSError, DecodeError) as error:
        raise DataError(f"{path.name} cannot be read as a tensor: {error}", "save it with onnx.save_tensor") from None
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        raise DataError(f"{path.name} has its values in another file", "save it with its values")
    return tensor


def _array(tensor: onnx.TensorProto, path: Path) -> np.ndarray:
    try:
        return np.asarray(numpy_helper.to_array(tensor))
    except (TypeError, ValueError, KeyError) as error:
        text = str(error).splitlines()[0]
        raise DataError(f"{path.name} holds no tensor of numbers: {text}", "save it with onnx.save_tensor") from None
