"""Large model files are read without their weights, and written without holding them: one tensor at a time.

A protobuf message is a row of fields, each with a number and, for a message or bytes, a length
(protobuf.dev/programming-guides/encoding). The fields around a weight are read; of its bytes only where they lie is
kept, as ONNX keeps it of external data: in the file itself.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import onnx
from google.protobuf.message import DecodeError

from graphprune.ir import external_data

LEAST_BYTES = 256 << 20  # smaller files are read whole: every reader has seen that form

_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9  # field numbers of onnx.proto
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5  # wire types

Field = tuple[int, int, int, int]
"""Number, where the field begins, where its content begins and ends."""


def is_large(path: Path) -> bool:
    """Whether a file is read this way."""
    return path.stat().st_size >= LEAST_BYTES


def skeleton(path: Path) -> onnx.ModelProto:
    """The model without the weights of data files, nor, if it is large, its own: all are references into its folder.

    Raises
    ------
    DecodeError
        The file is no protobuf message.
    """
    return read(path) if is_large(path) else onnx.load(str(path), format="protobuf", load_external_data=False)


def read(path: Path) -> onnx.ModelProto:
    """The model with each large weight as a reference into ``path`` itself.

    Raises
    ------
    DecodeError
        The file is no protobuf message.
    """
    outside, graph = bytearray(), bytearray()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for number, begin, start, end in _fields(content, 0, len(content)):
            if number != _GRAPH:
                outside += content[begin:end]
                continue
            for inner, inner_begin, inner_start, inner_end in _fields(content, start, end):
                is_weight = inner == _INITIALIZER and inner_end - inner_start > external_data.INLINE_LIMIT_BYTES
                if is_weight:
                    graph += _framed(_INITIALIZER, _reference(content, inner_start, inner_end, path.name))
                else:
                    graph += content[inner_begin:inner_end]
    proto: onnx.ModelProto = onnx.ModelProto.FromString(bytes(outside) + _framed(_GRAPH, bytes(graph)))
    return proto


def _reference(content: mmap.mmap, start: int, end: int, location: str) -> bytes:
    """A tensor without its bytes, unless it keeps them in another field."""
    rest, raw = bytearray(), None
    for number, begin, inner, stop in _fields(content, start, end):
        if number == _RAW_DATA:
            raw = inner, stop - inner
        else:
            rest += content[begin:stop]
    if raw is None:
        return bytes(rest)
    tensor = onnx.TensorProto.FromString(bytes(rest))
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", str(raw[0])), ("length", str(raw[1]))):
        tensor.external_data.add(key=key, value=value)
    reference: bytes = tensor.SerializeToString()
    return reference


def _fields(content: mmap.mmap, start: int, end: int) -> Iterator[Field]:
    """The fields of the message between two places."""
    place = start
    while place < end:
        begin = place
        tag, place = _varint(content, place, end)
        kind = tag & 7
        if kind == _VARINT:
            stop = _varint(content, place, end)[1]
        elif kind == _LENGTH:
            length, place = _varint(content, place, end)
            stop = place + length
        elif kind in (_FIXED64, _FIXED32):
            stop = place + (8 if kind == _FIXED64 else 4)
        else:
            raise DecodeError(f"wire type {kind}")
        if stop > end:
            raise DecodeError("a field ends behind its message")
        yield tag >> 3, begin, place, stop
        place = stop


def _varint(content: mmap.mmap, place: int, end: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where it ends."""
    value = shift = 0
    while place < end and shift < 64:
        byte = content[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7
    raise DecodeError("a number does not end")


def _number(value: int) -> bytes:
    """The inverse of :func:`_varint`."""
    digits = bytearray()
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    return bytes([*digits, value])


def _framed(field: int, content: bytes) -> bytes:
    return _head(field, len(content)) + content


def _head(field: int, length: int) -> bytes:
    """What stands before the content of a message or of bytes."""
    return _number(field << 3 | _LENGTH) + _number(length)


def write(proto: onnx.ModelProto, folder: Path, target: BinaryIO) -> None:
    """Write what ``proto.SerializeToString(deterministic=True)`` would give if every external tensor held its bytes.

    ``folder`` is where these lie. Peak memory is the nodes and one tensor.
    """
    before, after = _part(proto.graph, 0, _INITIALIZER), _part(proto.graph, _INITIALIZER + 1, 1 << 29)
    lengths = [_inline_bytes(tensor) for tensor in proto.graph.initializer]
    graph_bytes = len(before) + len(after) + sum(len(_head(_INITIALIZER, length)) + length for length in lengths)
    target.write(_part(proto, 0, _GRAPH))
    target.write(_head(_GRAPH, graph_bytes) + before)
    for tensor, length in zip(proto.graph.initializer, lengths, strict=True):
        inline = external_data.read(tensor, folder) if external_data.is_external(tensor) else tensor
        target.write(_head(_INITIALIZER, length))
        target.write(inline.SerializeToString(deterministic=True))
    target.write(after)
    target.write(_part(proto, _GRAPH + 1, 1 << 29))


def _inline_bytes(tensor: onnx.TensorProto) -> int:
    """Length of a tensor that holds its bytes itself."""
    if not external_data.is_external(tensor):
        return int(tensor.ByteSize())
    bare = onnx.TensorProto()
    bare.CopyFrom(tensor)
    del bare.external_data[:]
    bare.ClearField("data_location")
    length = external_data.tensor_bytes(tensor)
    return int(bare.ByteSize()) + len(_head(_RAW_DATA, length)) + length


def _part(message: Any, first: int, last: int) -> bytes:
    """The fields of a message with numbers from ``first`` up to, not with, ``last``."""
    part = type(message)()
    for field, value in message.ListFields():
        if not first <= field.number < last:
            continue
        if field.is_repeated:
            getattr(part, field.name).extend(value)
        elif field.message_type is not None:
            getattr(part, field.name).CopyFrom(value)
        else:
            setattr(part, field.name, value)
    content: bytes = part.SerializeToString(deterministic=True)
    return content
