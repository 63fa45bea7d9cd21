"""External tensor data: check where it points, read it in slices, write it back without holding it in memory.

The ONNX file names a *location* relative to its own folder. A model is untrusted input, so a location that is absolute,
climbs out of the folder or goes through a symbolic link that does is refused before anything is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import onnx

from graphprune.errors import ModelError

INLINE_LIMIT_BYTES = 1024
"""Tensors up to this size stay in the ONNX file: shapes, axes and scalars must be readable without the data file."""

_CHUNK_BYTES = 16 << 20
_ALIGNMENT_BYTES = 4096  # lets runtimes map the file instead of copying it
# Types that share a byte with their neighbours, as far as the installed onnx knows them.
_PACKED_BITS = {
    onnx.TensorProto.DataType.Value(name): bits
    for name, bits in (("INT4", 4), ("UINT4", 4), ("FLOAT4E2M1", 4), ("INT2", 2), ("UINT2", 2))
    if name in onnx.TensorProto.DataType.keys()  # noqa: SIM118 - a protobuf wrapper, not a dict
}


@dataclass(frozen=True)
class Slice:
    """Where the bytes of one external tensor lie."""

    path: Path
    offset_bytes: int
    length_bytes: int


def is_external(tensor: onnx.TensorProto) -> bool:
    """Whether the bytes of a tensor lie in another file."""
    return tensor.data_location == onnx.TensorProto.EXTERNAL


def location(tensor: onnx.TensorProto) -> str:
    """The file of an external tensor, as the model names it."""
    return next((entry.value for entry in tensor.external_data if entry.key == "location"), "")


def tensor_bytes(tensor: onnx.TensorProto) -> int:
    """Size in bytes of the values, from dtype and dims; sub-byte types are packed."""
    elements = 1
    for dim in tensor.dims:
        elements *= dim
    bits = _PACKED_BITS.get(tensor.data_type)
    if bits is not None:
        return -(-elements * bits // 8)
    return int(elements * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)


def locate(tensor: onnx.TensorProto, folder: Path) -> Slice:
    """Resolve an external tensor against ``folder``.

    Raises
    ------
    ModelError
        The location leaves the folder, the file is missing, or it is too short.
    """
    entries = {entry.key: entry.value for entry in tensor.external_data}
    where = f"initializer '{tensor.name}' of the model in {folder}"
    root, named = folder.resolve(), location(tensor)
    path = (root / named).resolve()
    if not named or Path(named).is_absolute() or not path.is_relative_to(root):
        raise ModelError(
            f"{where} points to external data outside the model's folder ('{named}')",
            "put the data file beside the model and save the model again",
        )
    if not path.is_file():
        raise ModelError(
            f"{where} needs the external data file '{named}', which is not there",
            "copy it beside the model",
        )
    expected = tensor_bytes(tensor)
    try:
        offset = int(entries.get("offset", "0"))
        length = int(entries.get("length", expected))
    except ValueError:
        raise ModelError(f"{where} has an unreadable offset or length", "export the model again") from None
    size = path.stat().st_size
    if offset < 0 or length != expected or offset + length > size:
        raise ModelError(
            f"{where} asks for {length} bytes at {offset} of '{named}', which holds {size} bytes ({expected} expected)",
            "the data file is truncated or belongs to another model: export again",
        )
    return Slice(path, offset, length)


def read(tensor: onnx.TensorProto, folder: Path) -> onnx.TensorProto:
    """A copy of ``tensor`` that carries its bytes itself."""
    where = locate(tensor, folder)
    inline = onnx.TensorProto()
    inline.CopyFrom(tensor)
    del inline.external_data[:]
    inline.ClearField("data_location")
    with where.path.open("rb") as file:
        file.seek(where.offset_bytes)
        inline.raw_data = file.read(where.length_bytes)
    return inline


def chunks(where: Slice) -> Iterator[bytes]:
    """The bytes of a slice, at most 16 MiB at a time."""
    with where.path.open("rb") as file:
        file.seek(where.offset_bytes)
        left = where.length_bytes
        while left:
            block = file.read(min(left, _CHUNK_BYTES))
            if not block:
                raise ModelError(f"{where.path} became shorter while it was read", "do not change it during the run")
            left -= len(block)
            yield block


def write(tensors: Iterable[onnx.TensorProto], folder: Path | None, target: BinaryIO, name: str) -> None:
    """Append every large tensor to ``target`` and turn it, in place, into a reference to ``name``.

    ``folder`` is where already external tensors are read from. Peak memory is one chunk.
    """
    for tensor in tensors:
        if tensor.data_type == onnx.TensorProto.STRING:
            continue  # strings have no raw form; the standard keeps them inline
        if not is_external(tensor) and tensor_bytes(tensor) <= INLINE_LIMIT_BYTES:
            continue
        offset = -(-target.tell() // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
        target.write(b"\0" * (offset - target.tell()))
        if is_external(tensor):
            assert folder is not None  # a model with external tensors always has a folder
            for block in chunks(locate(tensor, folder)):
                target.write(block)
        else:
            target.write(tensor.raw_data or onnx.numpy_helper.to_array(tensor).tobytes())
            for field in ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
                tensor.ClearField(field)
        length = target.tell() - offset
        tensor.data_location = onnx.TensorProto.EXTERNAL
        del tensor.external_data[:]
        for key, value in (("location", name), ("offset", str(offset)), ("length", str(length))):
            tensor.external_data.add(key=key, value=value)
