"""Large files are read and written without holding their weights; nothing else about them is different."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path

import numpy as np
import onnx
import pytest

from graphprune.errors import ModelError
from graphprune.ir import lean_file
from graphprune.ir.export import to_proto, write
from graphprune.ir.loading import load
from tests.graphs import build, random_feeds, residual_mlp, run

WIDTH = 64


def wide() -> onnx.ModelProto:
    """Two weights of 16 KB, one of which is transposed by a node."""
    proto = build(
        "(float[N,64] x) => (float[N,64] y) { t = Transpose(w) h = MatMul(x, t) r = Relu(h) y = MatMul(r, v) }",
        {"w": (WIDTH, WIDTH), "v": (WIDTH, WIDTH)},
    )
    proto.metadata_props.add(key="made", value="here")
    proto.doc_string, proto.graph.doc_string = "of the model", "of the graph"
    return proto


@pytest.fixture
def path(tmp_path: Path) -> Path:
    onnx.save(wide(), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


@pytest.fixture
def all_files_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lean_file, "LEAST_BYTES", 0)


def inlined(proto: onnx.ModelProto, folder: Path) -> bytes:
    target = io.BytesIO()
    lean_file.write(proto, folder, target)
    return target.getvalue()


def test_weights_stay_in_the_file(path: Path) -> None:
    lean = lean_file.read(path)
    assert lean.ByteSize() < 2_000 < path.stat().st_size
    assert [tensor.name for tensor in lean.graph.initializer] == ["w", "v"]
    assert all(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in lean.graph.initializer)


def test_what_is_written_is_what_was_read(path: Path) -> None:
    assert inlined(lean_file.read(path), path.parent) == wide().SerializeToString(deterministic=True)


def test_weights_that_are_no_bytes_stay_where_they_are(tmp_path: Path) -> None:
    """``float_data`` is a field of its own."""
    proto = wide()
    values = [float(value) for value in range(WIDTH * WIDTH)]
    proto.graph.initializer[0].CopyFrom(onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, (WIDTH, WIDTH), values))
    onnx.save(proto, tmp_path / "model.onnx")
    lean = lean_file.read(tmp_path / "model.onnx")
    assert list(lean.graph.initializer[0].float_data) == values
    assert inlined(lean, tmp_path) == proto.SerializeToString(deterministic=True)


@pytest.mark.usefixtures("all_files_are_large")
def test_a_large_file_is_written_as_a_small_one(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(path)
    assert model.own_file == "model.onnx"
    assert not model.is_external
    write(model, tmp_path / "lean.onnx")
    monkeypatch.setattr(lean_file, "LEAST_BYTES", 1 << 40)
    write(load(path), tmp_path / "whole.onnx")
    assert (tmp_path / "lean.onnx").read_bytes() == (tmp_path / "whole.onnx").read_bytes()
    assert not (tmp_path / "lean.onnx.data").exists()
    feeds = random_feeds(wide())
    np.testing.assert_array_equal(run(onnx.load(tmp_path / "lean.onnx"), feeds)[0], run(wide(), feeds)[0])


@pytest.mark.usefixtures("all_files_are_large")
def test_constants_of_a_large_file_are_folded(path: Path) -> None:
    assert [node.op for node in load(path).graph.nodes] == ["MatMul", "Relu", "MatMul"]


@pytest.mark.usefixtures("all_files_are_large")
def test_a_link_is_followed(path: Path, tmp_path: Path) -> None:
    """As in the caches of model hubs: the file's name is a link to where it lies."""
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "named.onnx").symlink_to(path)
    model = load(tmp_path / "links" / "named.onnx")
    write(model, tmp_path / "links" / "copy.onnx")
    feeds = random_feeds(wide())
    np.testing.assert_array_equal(run(onnx.load(tmp_path / "links" / "copy.onnx"), feeds)[0], run(wide(), feeds)[0])


@pytest.mark.usefixtures("all_files_are_large")
def test_data_files_beside_a_large_file_stay_beside(tmp_path: Path) -> None:
    onnx.save(wide(), tmp_path / "model.onnx", save_as_external_data=True, location="weights", size_threshold=0)
    model = load(tmp_path / "model.onnx")
    assert model.is_external
    write(model, tmp_path / "copy.onnx")
    assert (tmp_path / "copy.onnx.data").exists()


@pytest.mark.usefixtures("all_files_are_large")
@pytest.mark.parametrize("cut", [1, 100, 20_000])
def test_a_truncated_file_is_refused(path: Path, cut: int) -> None:
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(ModelError, match="truncated"):
        load(path)


@pytest.mark.usefixtures("all_files_are_large")
def test_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"\x07\xff\xff what is this" * 100)
    with pytest.raises(ModelError, match="not an ONNX file"):
        load(tmp_path / "model.onnx")


@pytest.mark.usefixtures("all_files_are_large")
def test_a_weight_of_another_length_is_refused(path: Path) -> None:
    proto = wide()
    proto.graph.initializer[0].dims[0] = WIDTH - 1
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match="asks for"):
        load(path)


@pytest.mark.usefixtures("all_files_are_large")
def test_memory_is_that_of_one_weight(tmp_path: Path) -> None:
    side = 512  # 1 MiB each
    proto = residual_mlp(8, width=side)
    onnx.save(proto, tmp_path / "model.onnx")
    model = load(tmp_path / "model.onnx")
    tracemalloc.start()
    write(model, tmp_path / "copy.onnx")
    to_proto(model)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < (tmp_path / "model.onnx").stat().st_size / 2
