"""Options from a file: as on the command line, which comes first."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.command import command
from tests.graphs import residual_mlp


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    onnx.save(residual_mlp(4, 16), tmp_path / "net.onnx")
    np.savez(tmp_path / "data.npz", x=np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32))
    monkeypatch.chdir(tmp_path)
    return tmp_path


WHOLE = """
model = "net.onnx"
pass = ["layer-magnitude", "filter-magnitude"]
target = "flops=0.7"
data = "data.npz"
output = "small.onnx"
json = "r.json"
threads = 1
align = 1
no_bench = true
repair = "none"
"""


def test_a_whole_run_stands_in_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "run.toml").write_text(WHOLE)
    assert command(monkeypatch, "--config", "run.toml") == 0
    content = json.loads((folder / "r.json").read_text())
    assert content["asked"] == "flops=0.7"
    assert [each["spec"] for each in content["plan"]["decisions"]] == ["layer-magnitude", "filter-magnitude"]
    assert content["repair"] is None and content["measurement"] is None
    assert (folder / "small.onnx").exists()


def test_the_command_line_comes_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "run.toml").write_text(WHOLE)
    words = ("--config", "run.toml", "--target", "flops=0.9", "--pass", "filter-magnitude")
    assert command(monkeypatch, "prune", *words) == 0
    content = json.loads((folder / "r.json").read_text())
    assert content["asked"] == "flops=0.9"
    assert len(content["plan"]["decisions"]) == 1


def test_each_command_has_its_table(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = '[inspect]\nmodel = "net.onnx"\njson = "i.json"\nkeep = "stem"\nthreads = 1\n'
    (folder / "run.toml").write_text(f"[prune]\n{WHOLE}\n{table}")
    assert command(monkeypatch, "inspect", "--config", "run.toml") == 0
    assert json.loads((folder / "i.json").read_text())["schema"] == "graphprune.inspection/1"


@pytest.mark.parametrize(
    ("text", "says", "code"),
    [
        ("targt = 'flops=0.8'", "has no option 'targt'; did you mean", 1),
        ("no_bench = 'yes'", "write true or false", 1),
        ("target = true", "write a text or a number", 1),
        ("target = ['flops=0.8', 'flops=0.7']", "write one value", 1),
        ("threads = 'many'", "'many' is not a valid integer", 2),
        ("target = ", "is no TOML", 1),
        (None, "cannot read the configuration", 1),
    ],
)
def test_what_a_file_has_wrong_is_said(
    text: str | None,
    says: str,
    code: int,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if text is not None:
        (folder / "run.toml").write_text(f"model = 'net.onnx'\n{text}\n")
    assert command(monkeypatch, "prune", "--config", "run.toml") == code
    assert says in capsys.readouterr().err


def test_help_has_a_section_for_what_belongs_together(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, "prune", "--help") == 0
    out = capsys.readouterr().out
    sections = {part.partition(":\n")[0]: part for part in out.split("\n\n") if ":\n" in part}
    assert "--max-drop" in sections["What goes"] and "--keep" in sections["What goes"]
    assert "--tokenizer" in sections["Samples"] and "--preprocess" in sections["Samples"]
    assert "--pass SPEC" in sections["Options"] and "--data SOURCE" not in sections["Options"]
    assert "  MODEL\n" not in sections["Options"]


def test_passes_and_doctor_write_json_as_others_do(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, "passes", "--json", "p.json", "amp") == 0
    assert [each["name"] for each in json.loads((folder / "p.json").read_text())["passes"]] == ["amp"]
    assert capsys.readouterr().out == ""
    for words in (("--json", "amp"), ("amp", "--json"), ("--json", "-", "amp")):
        assert command(monkeypatch, "passes", *words) == 0
        assert [each["name"] for each in json.loads(capsys.readouterr().out)["passes"]] == ["amp"]
    assert command(monkeypatch, "passes", "--json", "no/such/place.json") == 1
