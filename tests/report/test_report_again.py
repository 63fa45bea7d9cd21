"""The page of a run from its result file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from graphprune.pipeline.report_again import read_result
from tests.command import command
from tests.graphs import residual_mlp
from tests.report.html_page import Page


@pytest.fixture
def result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    onnx.save(residual_mlp(4, 16), tmp_path / "net.onnx")
    np.savez(tmp_path / "data.npz", x=np.random.default_rng(0).standard_normal((200, 4)).astype(np.float32))
    words = [tmp_path / "net.onnx", "--pass", "layer-cka", "--pass", "filter-magnitude", "--target", "flops=0.6"]
    words += ["--data", tmp_path / "data.npz", "--eval", "held-out", "--threads", 1, "--align", 1, "--duration", 0.05]
    words += ["--allow-slower", "--report", tmp_path / "first.html", "--json", tmp_path / "r.json"]
    assert command(monkeypatch, *words, "--quantise", "int8", "-o", tmp_path / "small.onnx") == 0
    return tmp_path / "r.json"


def test_the_page_says_the_same(result: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert command(monkeypatch, "report", result, "--threads", 1) == 0
    first, again = (Page(path.read_text()) for path in (result.with_name("first.html"), result.with_suffix(".html")))
    for section in ("headline", "latency", "int8", "recovery", "blocks", "groups"):
        assert first.sections.get(section) == again.sections.get(section)
    assert "similarity" in first.sections and "similarity" not in again.sections
    assert read_result(result).to_json() == result.read_text()
    data = result.with_name("data.npz")
    assert command(monkeypatch, "report", result, "--data", data, "-o", result.with_name("more.html")) == 0
    assert "similarity" in Page(result.with_name("more.html").read_text()).sections


def test_what_cannot_be_shown_is_refused(
    result: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx.save(residual_mlp(3, 16), tmp_path / "other.onnx")
    assert command(monkeypatch, "report", result, "--model", tmp_path / "other.onnx") == 1
    assert "is not the model that r.json was made of" in capsys.readouterr().err
    (tmp_path / "net.onnx").unlink()
    assert command(monkeypatch, "report", result) == 1
    assert "next: give --model" in capsys.readouterr().err
    (tmp_path / "p.json").write_text('{"schema": "graphprune.plan/1"}')
    for name, says in (
        ("p.json", "has schema 'graphprune.plan/1'"),
        ("none.json", "cannot read"),
        ("data.npz", "JSON"),
    ):
        assert command(monkeypatch, "report", tmp_path / name) == 1
        assert says in capsys.readouterr().err
    (tmp_path / "p.json").write_text('{"schema": "graphprune.result/1"}')
    assert command(monkeypatch, "report", tmp_path / "p.json") == 1
    assert "is incomplete" in capsys.readouterr().err
