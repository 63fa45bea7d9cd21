"""Folders through the whole of it: prune, apply, and the command line."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphprune
from graphprune.cli.main import entry
from graphprune.errors import InputError
from graphprune.run.options import RunOptions, TimingOptions
from tests.decoder_graphs import fused_decoder
from tests.model_folder.by_hand import CONFIG, GENAI, dense, lay_down, named

UNTIMED = RunOptions(align=1, timing=TimingOptions(measure_latency=False))
FILES = {"config.json": CONFIG, "genai_config.json": GENAI, "tokenizer.json": "{ }"}


def samples(path: Path) -> Path:
    generator = np.random.default_rng(0)
    ids = generator.integers(0, 40, (8, 6))
    names = [f"past_key_values.{i}.{kind}" for i in range(3) for kind in ("key", "value")]
    past: dict[str, Any] = {name: np.zeros((8, 2, 0, 16), np.float32) for name in names}
    np.savez(path, input_ids=ids, attention_mask=np.ones_like(ids), **past)
    return path


def digest(folder: Path) -> dict[str, str]:
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    return {file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_a_folder_in_a_folder_out(tmp_path: Path) -> None:
    here = lay_down(tmp_path / "llm", named(fused_decoder()), FILES, data="model.onnx.data")
    before = digest(here)
    result = graphprune.prune(
        here,
        "filter-magnitude{include=*mlp*|*up*|*gate*,scope=group}",
        data=samples(tmp_path / "data.npz"),
        target="ratio=0.25",
        output=tmp_path / "small",
        options=UNTIMED,
    )
    assert result.output == tmp_path / "small" and result.validation is not None
    after = digest(tmp_path / "small")
    assert set(after) == set(before) and after["tokenizer.json"] == before["tokenizer.json"]
    assert after["genai_config.json"] == before["genai_config.json"] and digest(here) == before
    config = json.loads((tmp_path / "small" / "config.json").read_text())
    assert config == CONFIG | {"intermediate_size": 18}
    assert sorted(file.name for file in tmp_path.iterdir()) == ["data.npz", "llm", "small"]

    again = graphprune.apply(here, result.plan, samples(tmp_path / "data.npz"), tmp_path / "again", options=UNTIMED)
    assert again.output == tmp_path / "again" and digest(tmp_path / "again") == after


def test_without_an_output_nothing_is_written(tmp_path: Path) -> None:
    here = lay_down(tmp_path / "llm", dense(), FILES)
    data = samples(tmp_path / "data.npz")
    result = graphprune.prune(here, "filter-magnitude", data, "ratio=0.2", options=UNTIMED)
    assert result.output is None and result.model is not None
    assert sorted(file.name for file in tmp_path.iterdir()) == ["data.npz", "llm"]


def test_a_folder_that_cannot_be_completed_leaves_nothing(tmp_path: Path) -> None:
    here = lay_down(tmp_path / "llm", dense(), {"config.json": "{"})
    with pytest.raises(InputError, match="is not JSON"):
        graphprune.prune(
            here, "filter-magnitude", samples(tmp_path / "data.npz"), "ratio=0.2", tmp_path / "small", options=UNTIMED
        )
    assert sorted(file.name for file in tmp_path.iterdir()) == ["data.npz", "llm"]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["graphprune", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        entry()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_the_command_takes_and_writes_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = lay_down(tmp_path / "llm", dense(), {**FILES, "model_fp16.onnx": "x"})
    data = samples(tmp_path / "data.npz")
    common = ("--pass", "filter-magnitude", "--target", "ratio=0.2", "--align", 1, "--data", data, "--no-bench")
    assert run(monkeypatch, here, *common, "--json", tmp_path / "result.json") == 0
    said = capsys.readouterr()
    assert "llm.pruned" in said.out and "left out: model_fp16.onnx" in said.err
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["output"] == str(tmp_path / "llm.pruned") and any("left out" in note for note in result["notes"])
    assert run(monkeypatch, here, *common) == 1
    assert "is not empty" in capsys.readouterr().err
    assert run(monkeypatch, here, *common, "-o", tmp_path / "new", "--json", here / "config.json") == 1
    assert "--json" in capsys.readouterr().err
    assert run(monkeypatch, "inspect", here, "--data", data, "-q") == 0
    assert run(monkeypatch, "bench", here, tmp_path / "llm.pruned", "--data", data, "-q", "--duration", 0) == 0


def test_a_file_is_still_written_into_a_folder_under_its_name(tmp_path: Path) -> None:
    here = lay_down(tmp_path / "llm", dense(), FILES)
    (tmp_path / "out").mkdir()
    data = samples(tmp_path / "data.npz")
    graphprune.prune(here / "model.onnx", "filter-magnitude", data, "ratio=0.2", tmp_path / "out", options=UNTIMED)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["model.pruned.onnx"]
