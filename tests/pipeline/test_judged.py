"""A pruned detector judged: each output by its error, or all by a metric of the user's own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.command import command
from tests.graphs import build
from tests.report.html_page import Page
from tests.schemas import assert_published

DETECTOR = """(float[N,3,8,8] image) => (float[N,2,8,8] map, float[N,5] boxes) {
    c = Conv<pads = [1, 1, 1, 1]>(image, w1) r = Relu(c)
    d = Conv<pads = [1, 1, 1, 1]>(r, w2) s = Relu(d)
    map = Conv(s, head) pooled = GlobalAveragePool(s) flat = Flatten(pooled) boxes = MatMul(flat, dense)
}"""
WEIGHTS = {"w1": (16, 3, 3, 3), "w2": (16, 16, 3, 3), "head": (2, 16, 1, 1), "dense": (16, 5)}


@pytest.fixture
def words(tmp_path: Path) -> list[object]:
    onnx.save(build(DETECTOR, WEIGHTS), tmp_path / "net.onnx")
    images = np.random.default_rng(0).standard_normal((24, 3, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "calib.npz", image=images)
    np.savez(tmp_path / "eval.npz", image=images, labels=images[:, :2] * 2)
    (tmp_path / "own.py").write_text(
        "def gap(batches):\n"
        "    return max(float(abs(outputs['map'] - samples['labels']).max()) for outputs, samples in batches)\n"
    )
    given: list[object] = [tmp_path / "net.onnx", "--pass", "filter-magnitude", "--target", "params=0.8", "--no-bench"]
    return [*given, "--data", tmp_path / "calib.npz", "--align", 1, "--threads", 1, "--json", tmp_path / "r.json"]


def test_outputs_that_are_no_class_scores_have_errors(
    words: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, *words, "--eval", tmp_path / "calib.npz") == 0
    content = json.loads((tmp_path / "r.json").read_text())
    assert_published(content)
    judged, before = content["evaluation"], content["unrepaired"]
    assert (judged["kind"], judged["before"], judged["samples"]) == ("error", 0.0, 24)
    assert [output["name"] for output in judged["outputs"]] == ["map", "boxes"]
    assert judged["after"] == max(output["relative_error"] for output in judged["outputs"])
    assert 0 < judged["after"] < before["after"] < 1
    out = capsys.readouterr().out
    assert "largest output error on 24" in out
    assert "error of boxes" in out
    assert "cosine 0.9" in out


def test_a_metric_of_the_users_own_judges_instead(
    words: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    metric, page = ["--metric", f"{tmp_path}/own.py:gap"], tmp_path / "r.html"
    assert command(monkeypatch, *words, *metric) == 1
    assert "no samples to judge on" in capsys.readouterr().err
    assert command(monkeypatch, *words, "--eval", tmp_path / "eval.npz") == 1  # labels of no class
    assert command(monkeypatch, *words, *metric, "--eval", tmp_path / "eval.npz", "--report", page) == 0
    content = json.loads((tmp_path / "r.json").read_text())
    assert_published(content)
    judged = content["evaluation"]
    assert (judged["kind"], judged["metric"]) == ("metric", "gap")
    assert judged["before"] > 1
    assert "gap on 24" in capsys.readouterr().out
    assert "gap" in Page(page.read_text()).text
