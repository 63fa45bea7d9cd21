"""What is no ONNX file is called by its name."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import zipfile
from pathlib import Path

import onnx
import pytest

from graphprune.errors import ModelError
from graphprune.ir.loading import load
from tests.graphs import residual_mlp


def archive(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as written:
        for name in names:
            written.writestr(name, "x")
    return file.getvalue()


def safetensors() -> bytes:
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(4)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12\n", "a pointer of Git LFS"),
        (b"<!DOCTYPE html>\n<html><body>404</body></html>", "a web page"),
        (gzip.compress(b"model", mtime=0), "a compressed file"),
        (archive("model.onnx"), "an archive"),
        (archive("net/data.pkl", "net/version"), "a file of PyTorch"),
        (archive("net/archive_format", "net/models/model.json"), "a program of torch.export"),
        (b"PK\x03\x04 and then nothing", "a broken archive"),
        (pickle.dumps({"weight": [1.0]}), "a pickle, as torch.save writes"),
        (safetensors(), "weights in safetensors"),
        (b"GGUF" + bytes(20), "a GGUF file"),
        (b"\x1c\0\0\0TFL3" + bytes(20), "a TensorFlow Lite file"),
        (b"\x1c\0\0\0ORTM" + bytes(20), "ONNX Runtime's own format"),
        (onnx.printer.to_text(residual_mlp(1)).encode(), "text"),
        (b'{"irVersion": "8"}', "text"),
    ],
)
def test_it_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=f"model.onnx is not an ONNX file but {said}"):
        load(path)


def test_half_a_model_is_none_of_them(tmp_path: Path) -> None:
    path, whole = tmp_path / "model.onnx", residual_mlp(1).SerializeToString()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match="not an ONNX file, or it is truncated"):
        load(path)
