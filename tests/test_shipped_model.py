"""The shipped network is what its manifest says."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.graphs import run

MODELS = Path(__file__).parent.parent / "models"
MANIFEST = json.loads((MODELS / "manifest.json").read_text())


@pytest.mark.parametrize("name", sorted(MANIFEST["sha256"]))
def test_files_are_the_ones_that_were_made(name: str) -> None:
    assert hashlib.sha256((MODELS / name).read_bytes()).hexdigest() == MANIFEST["sha256"][name]


def test_size_and_depth(shipped: Path) -> None:
    assert shipped.stat().st_size < 4e6
    convolutions = [node for node in onnx.load(shipped).graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 33


@pytest.mark.slow
def test_accuracy(shipped: Path, evaluation: Path, calibration: Path) -> None:
    with np.load(evaluation, allow_pickle=False) as data:
        images, labels = data["input"], data["labels"]
    scores = run(shipped, {"input": images})[0]
    assert len(labels) == 2000
    assert np.mean(scores.argmax(1) == labels) == pytest.approx(MANIFEST["top1_on_eval_images"], abs=1e-3)
    assert MANIFEST["top1_on_10000_test_images"] >= 0.93
    with np.load(calibration, allow_pickle=False) as data:
        assert data["input"].shape == (512, 1, 28, 28)
        assert data.files == ["input"]
