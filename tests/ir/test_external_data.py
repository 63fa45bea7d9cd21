"""Weights in an external data file are neither read without need nor lost, and files appear whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from graphprune.analysis.blocks import find_joins
from graphprune.ir.export import to_proto, write
from graphprune.ir.loading import load
from graphprune.ir.model import constants
from graphprune.ir.output_files import staged
from graphprune.rewrite import remove_blocks
from tests.graphs import assert_same, build, initialisers, random_feeds, residual_mlp, run


def save_external(proto: onnx.ModelProto, path: Path) -> None:
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    onnx.save(copy, path, save_as_external_data=True, location=path.name + ".bin", size_threshold=0)


def entries(tensor: TensorProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in tensor.external_data}


@pytest.fixture
def wide() -> onnx.ModelProto:
    """Weights of 4,608 bytes, which is no multiple of a page, and a bias of 96 bytes."""
    proto = residual_mlp(3, width=24)
    proto.graph.node.insert(1, helper.make_node("Add", ["raw", "bias"], ["h0"], name="bias"))
    proto.graph.node[0].output[0] = "raw"
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.arange(24, dtype=np.float32), "bias"))
    return proto


def test_large_weights_are_not_read_on_load(wide: onnx.ModelProto, tmp_path: Path) -> None:
    save_external(wide, tmp_path / "m.onnx")
    model = load(tmp_path / "m.onnx")
    out = {tensor.name: tensor for tensor in to_proto(model).graph.initializer}
    assert out["a1"].data_location == TensorProto.EXTERNAL
    assert not out["a1"].HasField("raw_data")
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(out["bias"]), np.arange(24, dtype=np.float32))
    assert model.is_external


def test_written_model_has_one_data_file_and_the_same_numbers(wide: onnx.ModelProto, tmp_path: Path) -> None:
    save_external(wide, tmp_path / "m.onnx")
    target = tmp_path / "out"
    target.mkdir()
    write(load(tmp_path / "m.onnx"), target / "small.onnx")
    assert sorted(file.name for file in target.iterdir()) == ["small.onnx", "small.onnx.data"]
    onnx.checker.check_model(str(target / "small.onnx"), full_check=True)
    feeds = random_feeds(wide)
    assert_same(run(target / "small.onnx", feeds), run(wide, feeds), relative=0)


def test_offsets_are_aligned_and_small_tensors_inline(wide: onnx.ModelProto, tmp_path: Path) -> None:
    save_external(wide, tmp_path / "m.onnx")
    write(load(tmp_path / "m.onnx"), tmp_path / "small.onnx")
    written = onnx.load(tmp_path / "small.onnx", load_external_data=False)
    data = (tmp_path / "small.onnx.data").read_bytes()
    inline = {t.name for t in written.graph.initializer if t.data_location != TensorProto.EXTERNAL}
    assert inline == {"bias", "w_stem", "w_head"}
    expected = initialisers(wide)
    for tensor in written.graph.initializer:
        if tensor.name not in inline:
            where = entries(tensor)
            offset, length = int(where["offset"]), int(where["length"])
            assert where["location"] == "small.onnx.data"
            assert offset % 4096 == 0
            assert data[offset : offset + length] == expected[tensor.name].tobytes()


def test_removed_blocks_leave_the_data_file(wide: onnx.ModelProto, tmp_path: Path) -> None:
    save_external(wide, tmp_path / "m.onnx")
    model = load(tmp_path / "m.onnx")
    blocks = [join.block for join in find_joins(model) if join.block]
    write(remove_blocks(model, blocks[:2]), tmp_path / "small.onnx")
    kept = onnx.load(tmp_path / "small.onnx")
    assert {"a2", "b2"} <= set(initialisers(kept)) <= {"a2", "b2", "bias", "w_stem", "w_head"}
    assert (tmp_path / "small.onnx.data").stat().st_size < (tmp_path / "m.onnx.bin").stat().st_size / 2


def test_inputs_are_not_touched(wide: onnx.ModelProto, tmp_path: Path) -> None:
    save_external(wide, tmp_path / "m.onnx")
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    write(load(tmp_path / "m.onnx"), tmp_path / "small.onnx")
    assert {file: file.read_bytes() for file in before} == before


def test_self_contained_model_stays_self_contained(wide: onnx.ModelProto, tmp_path: Path) -> None:
    onnx.save(wide, tmp_path / "m.onnx")
    write(load(tmp_path / "m.onnx"), tmp_path / "small.onnx")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["m.onnx", "small.onnx"]


def test_folded_constants_become_part_of_the_data_file(tmp_path: Path) -> None:
    proto = build(
        """(float[N,32] x) => (float[N,32] y) {
          two = Constant<value = float {2.0}>()
          ramp = ConstantOfShape<value = float[1] {3.0}>(shape)
          double = Mul(ramp, two)
          a = MatMul(x, double)
          y = MatMul(a, w)
        }""",
        {"w": (32, 32), "shape": np.array([32, 32], np.int64)},
    )
    save_external(proto, tmp_path / "m.onnx")
    write(load(tmp_path / "m.onnx"), tmp_path / "small.onnx")
    written = onnx.load(tmp_path / "small.onnx", load_external_data=False)
    assert all(t.data_location == TensorProto.EXTERNAL for t in written.graph.initializer if t.name in ("w", "double"))
    feeds = random_feeds(proto)
    assert_same(run(tmp_path / "small.onnx", feeds), run(proto, feeds))


def test_strings_survive_beside_external_weights(tmp_path: Path) -> None:
    proto = build("(float[N,32] x) => (float[N,32] y, string[200] words) { y = MatMul(x, w) }")
    words = [f"word {i}".encode() for i in range(200)]
    proto.graph.initializer.append(
        TensorProto(name="words", data_type=TensorProto.STRING, dims=[200], string_data=words)
    )
    tensor = onnx.numpy_helper.from_array(np.eye(32, dtype=np.float32), "w")
    (tmp_path / "w.bin").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="w.bin")
    proto.graph.initializer.append(tensor)
    onnx.save(proto, tmp_path / "m.onnx")
    write(load(tmp_path / "m.onnx"), tmp_path / "small.onnx")
    feeds = random_feeds(proto)
    np.testing.assert_array_equal(run(tmp_path / "small.onnx", feeds, ["words"])[0], [word.decode() for word in words])


@pytest.mark.parametrize("dtype", ["INT4", "UINT4", "FLOAT4E2M1", "INT2", "FLOAT8E4M3FN", "BFLOAT16"])
def test_narrow_types(dtype: str, tmp_path: Path) -> None:
    number = getattr(TensorProto, dtype, None)
    if number is None:
        pytest.skip(f"the installed onnx has no {dtype}")
    proto = build("(float[N,4] x) => (float[N,4] y) { w = Cast<to = 1>(q) y = Mul(x, w) }", opset=26, ir=13)
    proto.graph.node[0].input[0] = "q"
    tensor = helper.make_tensor("q", number, [3000, 4], np.tile([1, 0, 1, 1], 3000).astype(np.float32))
    raw = tensor.raw_data or onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor)).raw_data
    (tmp_path / "q.bin").write_bytes(raw)
    external = TensorProto(name="q", data_type=number, dims=[3000, 4], data_location=TensorProto.EXTERNAL)
    external.external_data.add(key="location", value="q.bin")
    proto.graph.initializer.append(external)
    onnx.save(proto, tmp_path / "m.onnx")
    write(load(tmp_path / "m.onnx"), tmp_path / "small.onnx")
    (written,) = (t for t in onnx.load(tmp_path / "small.onnx").graph.initializer if t.name == "q")
    assert written.raw_data == raw


def test_staged_moves_everything_in_on_success(tmp_path: Path) -> None:
    for suffix in ("", ".data"):
        (tmp_path / f"m.onnx{suffix}").write_text("old")
    with staged(tmp_path / "m.onnx") as inside:
        for suffix in ("", ".data"):
            inside.with_name(inside.name + suffix).write_text("new")
        assert (tmp_path / "m.onnx").read_text() == "old"
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"m.onnx": "new", "m.onnx.data": "new"}


def test_staged_moves_the_data_file_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[str] = []
    real = os.replace

    def recorded(old: Path, new: Path) -> None:
        moved.append(new.name)
        real(old, new)

    monkeypatch.setattr(os, "replace", recorded)
    with staged(tmp_path / "m.onnx") as inside:
        inside.write_text("model")
        inside.with_name("m.onnx.data").write_text("weights")
    assert moved == ["m.onnx.data", "m.onnx"]


def test_staged_leaves_nothing_after_an_exception(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_text("old")
    with pytest.raises(KeyboardInterrupt), staged(tmp_path / "m.onnx") as inside:
        inside.write_text("half")
        raise KeyboardInterrupt
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"m.onnx": "old"}


HUGE_WIDTH, HUGE_BLOCKS = 4096, 33  # 33 * 64 MiB = 2.06 GiB
PRUNE = """
import resource, sys
from pathlib import Path
from graphprune.ir.loading import load
from graphprune.ir.export import write
from graphprune.rewrite import remove_blocks
from graphprune.analysis.blocks import find_joins
folder = Path(sys.argv[1])
model = load(folder / "huge.onnx")
blocks = [join.block for join in find_joins(model) if join.block]
write(remove_blocks(model, [blocks[5]]), folder / "small.onnx")
print(len(blocks), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.slow
def test_more_than_two_gib(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """33 blocks ``h + Tanh(h W_i)``; row 0 of ``W_i`` is filled with i, the rest of its file region is a hole."""
    width, length = HUGE_WIDTH, HUGE_WIDTH * HUGE_WIDTH * 4
    lines = [f"m{i} = MatMul(h{i}, w{i}) t{i} = Tanh(m{i}) h{i + 1} = Add(h{i}, t{i})" for i in range(HUGE_BLOCKS)]
    proto = build(
        f"(float[N,{width}] x) => (float[N,{width}] y) {{ h0 = Tanh(x) {' '.join(lines)} y = Tanh(h{HUGE_BLOCKS}) }}"
    )
    with (tmp_path / "huge.bin").open("wb") as data:
        for i in range(HUGE_BLOCKS):
            tensor = proto.graph.initializer.add(name=f"w{i}", data_type=TensorProto.FLOAT, dims=[width, width])
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (("location", "huge.bin"), ("offset", i * length), ("length", length)):
                tensor.external_data.add(key=key, value=str(value))
            data.seek(i * length)
            data.write(np.full(width, i, np.float32).tobytes())
        data.truncate(HUGE_BLOCKS * length)
    onnx.save(proto, tmp_path / "huge.onnx")
    try:
        done = subprocess.run([sys.executable, "-c", PRUNE, tmp_path], capture_output=True, text=True, check=True)
        blocks, peak = map(int, done.stdout.split())
        with capsys.disabled():
            print(f"\n2 GiB model: {HUGE_BLOCKS * length / 2**30:.2f} GiB of weights, peak {peak / 2**30:.2f} GiB")
        assert blocks == HUGE_BLOCKS
        assert peak < 1.5 * HUGE_BLOCKS * length
        written = onnx.load(tmp_path / "small.onnx", load_external_data=False)
        assert {t.name for t in written.graph.initializer} == {f"w{i}" for i in range(HUGE_BLOCKS) if i != 5}
        with (tmp_path / "small.onnx.data").open("rb") as data:
            for tensor in written.graph.initializer:
                where = entries(tensor)
                assert (int(where["length"]), int(where["offset"]) % 4096) == (length, 0)
                data.seek(int(where["offset"]))
                row = np.frombuffer(data.read(width * 4), np.float32)
                np.testing.assert_array_equal(row, float(tensor.name[1:]))
                assert not any(data.read(width * 4))
        read = {name for node in written.graph.node for name in node.input}
        assert {"h5", "h7"} <= read and "h6" not in read
    finally:
        for file in tmp_path.iterdir():
            file.unlink()


def test_constants_reports_each_external_weight_once(tmp_path: Path) -> None:
    proto = build("(float[N,32] x) => (float[N,32] y) { a = MatMul(x, w) y = MatMul(a, w) }", {"w": (32, 32)})
    save_external(proto, tmp_path / "m.onnx")
    assert [constant.name for constant in constants(load(tmp_path / "m.onnx").graph)] == ["w"]
