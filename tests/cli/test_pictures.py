"""Pictures on the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from tests.command import command
from tests.passes.test_joint_cka import small_resnet


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    for number in range(32):
        folder = tmp_path / "photos" / f"class{number % 4}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (9, 7, 3)).astype(np.uint8)).save(folder / f"{number}.png")
    return tmp_path / "photos"


def test_pruned_and_judged_on_pictures(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx.save(small_resnet(), tmp_path / "net.onnx")
    words = (tmp_path / "net.onnx", "--pass", "layer-cka", "--target", "removed=1", "--data", photos, "--no-bench")
    output = ("--eval", photos, "-o", tmp_path / "small.onnx", "--threads", "1")
    assert command(monkeypatch, *words, *output, "--preprocess", "imagenet") == 0
    shown = capsys.readouterr()
    assert "top-1 on 32" in shown.out and "scaled to [0, 1]" not in shown.err
    assert command(monkeypatch, *words, "--dry-run") == 0
    assert "scaled to [0, 1] and nothing else" in " ".join(capsys.readouterr().err.split())
    for more in (("--image", "9"), ("--mean", "a"), ("--preprocess", "imagnet")):
        assert command(monkeypatch, *words, "--dry-run", *more) in (1, 2)
        assert capsys.readouterr().err.startswith("graphprune: error")
    models = (tmp_path / "net.onnx", tmp_path / "small.onnx")
    assert command(monkeypatch, "evaluate", *models, "--data", photos, "--mean", "0.5", "--std", "0.25") == 0
    assert "top-1" in capsys.readouterr().out
