"""Tell by its first bytes what a file is that is no ONNX file: half of those that people give by mistake."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

_EXPORT = "export the network with torch.onnx.export, and give the .onnx file"
_UNPACK = "unpack it, and give the .onnx file"
_HEAD_BYTES = 1024

_Kind = tuple[Callable[[bytes], bool], str, str]


def _begins(*heads: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(heads)


_KINDS: tuple[_Kind, ...] = (
    (_begins(b"version https://git-lfs"), "a pointer of Git LFS", "fetch it with git lfs pull"),
    (lambda head: b"<html" in head.lower() or b"<!doctype" in head.lower(), "a web page", "download the model again"),
    (_begins(b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"), "a compressed file", _UNPACK),
    (_begins(b"\x89HDF"), "a file of Keras (HDF5)", "convert it with tf2onnx"),
    (lambda head: head[4:8] == b"TFL3", "a TensorFlow Lite file", "convert it with python -m tf2onnx.convert --tflite"),
    (lambda head: head[4:8] == b"ORTM", "ONNX Runtime's own format", "give the .onnx file that it was made from"),
    (_begins(b"GGUF"), "a GGUF file", "give the model as ONNX, e.g. by onnxruntime-genai's builder"),
    (_begins(b"ftrt", b"ptrt"), "an engine of TensorRT", "give the .onnx file that it was built from"),
    (lambda head: head[8:11] == b'{"_' or head[8:10] == b'{"', "weights in safetensors, without a network", _EXPORT),
    (_begins(b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"), "a pickle, as torch.save writes", _EXPORT),
    (
        lambda head: head.lstrip()[:1] in (b"{", b"<") or head.lstrip().startswith((b"ir_version", b"graph")),
        "text",
        "if it is ONNX as text, read it with onnx.load and write it with onnx.save",
    ),
)


def foreign_kind(path: Path) -> tuple[str, str] | None:
    """What the file is, and what to do about it; None where nothing is known of it.

    Raises
    ------
    OSError
        It cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head.startswith(b"PK\x03\x04"):
        return _archive(path)
    return next(((what, advice) for is_it, what, advice in _KINDS if is_it(head)), None)


def _archive(path: Path) -> tuple[str, str]:
    """PyTorch keeps everything in archives; only their lists of files are looked at."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.rpartition("/")[2] for name in archive.namelist()]
    except zipfile.BadZipFile:
        return "a broken archive", "copy it again"
    if "data.pkl" in names:
        return "a file of PyTorch", _EXPORT
    if "archive_format" in names:
        return "a program of torch.export", "torch.onnx.export takes it; give the .onnx file"
    return "an archive", _UNPACK
