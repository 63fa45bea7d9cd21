"""Images moved and covered: what the nine ways are, that the worst counts, and on which networks it works."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from graphprune.evaluation.moves import Move, move, variants
from graphprune.evaluation.side_by_side import EvaluationOptions, evaluate_models
from graphprune.runtime.sessions import RuntimeOptions
from tests.command import command
from tests.evaluation.classifiers import IMAGES, classifier
from tests.graphs import build, run
from tests.small_cnns import stages


def test_shifts_repeat_the_border() -> None:
    images = np.arange(2 * 32 * 40, dtype=np.float64).reshape(1, 2, 32, 40)
    found = list(variants(images, move("shift")))
    assert len(found) == 9 and len({each.tobytes() for each in found}) == 9
    assert np.array_equal(found[4], images)
    assert np.array_equal(found[0][..., :-4, :-4], images[..., 4:, 4:])
    assert np.array_equal(found[8][..., 4:, 4:], images[..., :-4, :-4])
    assert (found[8][..., :4, 4:] == images[..., :1, :-4]).all()


def test_squares_have_the_mean_and_reach_the_borders() -> None:
    images = np.random.default_rng(0).random((2, 3, 32, 32))
    covered = [each != images for each in variants(images, move("occlusion"))]
    assert all(part.sum() == 2 * 3 * 16 * 16 for part in covered)
    assert covered[0][..., :16, :16].all() and covered[4][..., 8:24, 8:24].all() and covered[8][..., 16:, 16:].all()
    first = next(variants(images, move("occlusion")))
    assert np.allclose(first[1, 2, 0, 0], images[1, 2].mean())


def test_small_images_are_moved_less() -> None:
    windows = np.random.default_rng(0).random((1, 1, 50, 6))
    found = list(variants(windows, Move("shift", 4)))
    assert np.array_equal(found[0], found[1])  # along 6 sensors not at all
    assert np.array_equal(found[0][:, :, :-4], windows[:, :, 4:])
    assert (next(variants(windows, Move("occlusion", 16))) != windows).sum() == 16 * 3


def test_right_is_who_is_right_in_all_nine_ways(tmp_path: Path) -> None:
    onnx.save(classifier(), tmp_path / "a.onnx")
    labels = run(tmp_path / "a.onnx", {"x": IMAGES})[0].argmax(1)
    np.savez(tmp_path / "test.npz", x=IMAGES, labels=labels)
    chosen = (Move("shift", 1), Move("occlusion", 8))
    options = EvaluationOptions(moves=chosen, runtime=RuntimeOptions("cpu", 1))
    found = evaluate_models([tmp_path / "a.onnx", tmp_path / "a.onnx"], tmp_path / "test.npz", options)
    rows = {row.name: row for row in found.rows if row.kind == "attack"}
    for each in chosen:
        ways = variants(IMAGES.astype(np.float64), each)
        right = [run(tmp_path / "a.onnx", {"x": way.astype(np.float32)})[0].argmax(1) == labels for way in ways]
        assert rows[each.name].values[0].value == pytest.approx(np.all(right, 0).mean())
        assert rows[each.name].level == str(each.pixels)
    assert min(row.values[0].value for row in rows.values()) < 1
    assert found.settings["moves"] == [{"name": "shift", "pixels": 1}, {"name": "occlusion", "pixels": 8}]


ATTACKS = ["--attack", "fgsm", "--attack", "shift", "--attack", "occlusion", "--corruptions", "gaussian-noise"]


def test_networks_that_were_grown_and_tickets_can_be_attacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    onnx.save(stages((3, 3), norms=True), "net.onnx")
    x = np.random.default_rng(0).random((24, 3, 12, 12)).astype(np.float32)
    np.savez("test.npz", x=x, labels=np.arange(24) % 4)
    assert command(monkeypatch, "init", "net.onnx", "--seed", 1, "-o", "fresh.onnx", "-q") == 0
    cut = ["--pass", "layer-ticket", "--target", "removed=1", "--data", "test.npz", "--no-bench", "-q"]
    assert command(monkeypatch, "fresh.onnx", *cut, "-o", "ticket.onnx") == 0
    assert command(monkeypatch, "grow", "net.onnx", "--stage", 1, "-o", "grown.onnx", "-q") == 0
    words = ["--data", "test.npz", *ATTACKS, "--severities", 3, "--threads", 1]
    assert command(monkeypatch, "evaluate", "fresh.onnx", "ticket.onnx", "grown.onnx", *words) == 0
    printed = capsys.readouterr().out
    assert "fgsm 8/255, %" in printed and "shift 4 px, %" in printed and "occlusion 16 px, %" in printed


def test_windows_of_sensors_can_be_attacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not in [0, 1] as they are: mean and deviation bring them there."""
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    text = """(float[n, 1, 50, 6] windows) => (float[n, 4] logits) {
        maps = Conv<pads = [6, 0, 5, 1]>(windows, w)
        logits = ReduceMean<axes = [2, 3], keepdims = 0>(maps)
    }"""
    onnx.save(build(text, {"w": (4, 1, 12, 2)}), "cnn.onnx")
    windows = random.uniform(-80, 120, (20, 1, 50, 6)).astype(np.float32)
    np.savez("test.npz", windows=windows, labels=np.arange(20) % 4)
    words = ["--data", "test.npz", *ATTACKS, "--severities", 3, "--threads", 1]
    assert command(monkeypatch, "evaluate", "cnn.onnx", *words) == 1
    assert "no pixels in [0, 1]" in capsys.readouterr().err
    assert command(monkeypatch, "evaluate", "cnn.onnx", *words, "--pixel-mean", 0.4, "--pixel-std", 0.005) == 0
    assert "occlusion 16 px, %" in capsys.readouterr().out
