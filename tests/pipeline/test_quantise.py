"""The result in int8 beside the float one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

import graphprune
from graphprune import RunOptions, RuntimeOptions, TimingOptions
from graphprune.errors import ModelError, OptionError
from graphprune.runtime.sessions import open_session, run
from tests.command import command
from tests.graphs import build, ops, residual_mlp
from tests.report.html_page import Page
from tests.schemas import assert_published
from tests.small_cnns import flattened

ROWS = np.random.default_rng(0).standard_normal((200, 3, 8, 8)).astype(np.float32)
OPTIONS = RunOptions(
    align=1,
    quantise="int8",
    timing=TimingOptions(seconds=0.05, allow_slower=True),
    runtime=RuntimeOptions(threads=1),
)


def test_a_second_file_computes_in_int8_what_the_first_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx.save(flattened(), tmp_path / "net.onnx")
    np.savez(tmp_path / "data.npz", x=ROWS)
    words = [
        tmp_path / "net.onnx",
        "--pass",
        "filter-magnitude",
        "--target",
        "flops=0.8",
        "--data",
        tmp_path / "data.npz",
    ]
    words += ["--threads", 1, "--align", 1, "--allow-slower", "--duration", 0.05, "--eval", "held-out"]
    words += ["--json", tmp_path / "r.json", "--report", tmp_path / "r.html", "-o", tmp_path / "small.onnx"]
    assert command(monkeypatch, *words, "--quantise", "int8") == 0
    out = capsys.readouterr().out
    assert "pruned, int8" in out and f"wrote {tmp_path}/small.int8.onnx" in out
    small, int8 = onnx.load(tmp_path / "small.onnx"), onnx.load(tmp_path / "small.int8.onnx")
    assert "DequantizeLinear" not in ops(small) and "DequantizeLinear" in ops(int8)
    assert "BatchNormalization" not in ops(int8)
    assert any(
        len(tensor.dims) == 1 and tensor.dims[0] > 1 for tensor in int8.graph.initializer if "scale" in tensor.name
    )
    content = json.loads((tmp_path / "r.json").read_text())
    assert_published(content)
    found = content["quantised"]
    feeds = {"x": ROWS[:160][np.arange(200)[:160] % 5 != 4]}
    # As the command opens them: without VNNI, fused sums of bytes saturate, and that is part of the figure.
    expected, got = (run(open_session(each, RuntimeOptions(threads=1)), feeds)[0] for each in (small, int8))
    assert 0 < np.linalg.norm(got - expected) / np.linalg.norm(expected) < 0.1
    assert found["relative_error"] == pytest.approx(np.linalg.norm(got - expected) / np.linalg.norm(expected), rel=0.3)
    assert found["bytes"] == (tmp_path / "small.int8.onnx").stat().st_size
    assert content["after"]["bytes"] == (tmp_path / "small.onnx").stat().st_size
    assert found["evaluation"]["samples"] == 40
    assert found["to_original"]["comparison"]["ratio"] > 0 < found["to_pruned"]["comparison"]["ratio"]
    page = Page((tmp_path / "r.html").read_text())
    assert "a scale for each channel, calibrated on 160 samples" in page.text


def test_what_loses_more_than_it_may_is_not_written(tmp_path: Path) -> None:
    options = replace(OPTIONS, timing=TimingOptions(measure_latency=False))
    given = (residual_mlp(3), "layer-cka", {"x": np.random.default_rng(0).standard_normal((400, 4)).astype(np.float32)})
    out = tmp_path / "small.onnx"
    found = graphprune.prune(*given, "removed=1", out, max_drop=graphprune.MaxDrop(0.9), options=options)
    assert found.quantised is not None and found.quantised.evaluation is not None
    assert found.quantised.output == str(tmp_path / "small.int8.onnx")
    (tmp_path / "small.int8.onnx").unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("graphprune.pipeline.quantise.quantise_int8", _ruined)
        found = graphprune.prune(*given, "removed=1", out, max_drop=graphprune.MaxDrop(0.6), options=options)
    assert found.quantised is not None and found.quantised.output is None
    assert any("int8 is not written: it loses" in note for note in found.notes)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small.onnx"]


def _ruined(source: Path, out: Path, batches: object) -> bool:
    """A network whose choices are the opposite ones."""
    model = onnx.load(source)
    for tensor in model.graph.initializer:
        if tensor.name == "w_head":
            tensor.CopyFrom(onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(tensor), tensor.name))
    onnx.save(model, out)
    return True


HALF = build(
    "(float16[N,4] x) => (float16[N,3] y) { [a] h = MatMul(x, w) [r] g = Relu(h) [b] y = MatMul(g, v) }",
    {"w": np.ones((4, 8), np.float16), "v": np.ones((8, 3), np.float16)},
)


@pytest.mark.parametrize(
    ("model", "data", "says"),
    [
        (HALF, {"x": np.ones((8, 4), np.float16)}, "takes float32"),
        (residual_mlp(2), None, "calibrated on samples"),
    ],
)
def test_what_cannot_be_quantised_is_refused_before_the_work(
    model: onnx.ModelProto, data: Mapping[str, np.ndarray] | None, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graphprune.pipeline.rounds.Rounds.prove", lambda *given: pytest.fail("too late"))
    with pytest.raises((ModelError, OptionError), match=says):
        graphprune.prune(model, "filter-magnitude", data, options=OPTIONS)


def test_a_fault_of_the_quantiser_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*given: object, **named: object) -> None:
        raise ValueError("no such thing\nand more")

    monkeypatch.setattr("onnxruntime.quantization.quantize_static", fails)
    with pytest.raises(ModelError, match="quantiser fails: ValueError: no such thing"):
        rows = {"x": np.ones((20, 4), np.float32)}
        graphprune.prune(
            residual_mlp(2), "filter-magnitude", rows, "flops=0.8", tmp_path / "small.onnx", options=OPTIONS
        )
    assert not list(tmp_path.iterdir())
