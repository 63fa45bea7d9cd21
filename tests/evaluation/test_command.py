"""``graphprune evaluate`` as a user meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from graphprune.cli import main
from graphprune.cli.evaluate import evaluate
from tests.command import command
from tests.evaluation.classifiers import IMAGES, classifier
from tests.schemas import assert_published

MEAN, STD = "0.5,0.4,0.3", "0.2,0.25,0.5"


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(main.cli.commands, "evaluate", evaluate)
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for seed in range(4):
        onnx.save(classifier(seed), tmp_path / f"{seed}.onnx")
    mean, std = (np.array(list(map(float, text.split(",")))).reshape(3, 1, 1) for text in (MEAN, STD))
    labels = np.arange(40) % 4
    np.savez(tmp_path / "pixels.npz", x=IMAGES, labels=labels)
    np.savez(tmp_path / "normalised.npz", x=((IMAGES - mean) / std).astype(np.float32), labels=labels)
    np.save(tmp_path / "mean.npy", np.broadcast_to(mean, (3, 16, 16)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_table_of_four_models_fits_80_columns_and_the_json_says_all(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    models = [f"{seed}.onnx" for seed in range(4)]
    words = ["--data", "pixels.npz", "--attack", "fgsm", "--attack", "pgd", "--pgd-steps", 2, "--corruptions", "all"]
    words += ["--severities", "2,5", "--threads", 1, "--json", "out.json", "-v"]
    assert command(monkeypatch, "evaluate", *models, *words) == 0
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert max(map(len, lines)) <= 80
    assert "D against A, 8 attacks and corruption families" in printed
    for text in (
        "top-1, %",
        "fgsm 2/255, %",
        "pgd 8/255, %",
        "mean of 17, %",
        "glass-blur, %",
        "ECE, 15 bins",
        "C - A",
        "D - A",
    ):
        assert text in printed, text
    content = json.loads(Path("out.json").read_text())
    assert_published(content)
    assert content["schema"] == "graphprune.robustness/1"
    assert content["models"] == models
    assert content["settings"]["attacks"][0]["epsilon"] == pytest.approx(2 / 255)
    assert sum(row["kind"] == "corruption" for row in content["rows"]) == 17 * 3
    assert all(len(row["values"]) == 4 and len(row["differences"]) == 3 for row in content["rows"])


def test_mean_and_std_lead_to_the_same_pixels(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # A model that undoes the normalisation sees the same pixels, so it must get the same figures.
    model = classifier(0)
    for name, text in (("mean", MEAN), ("std", STD)):
        array = np.array(list(map(float, text.split(","))), np.float32).reshape(3, 1, 1)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    model.graph.input[0].name = "z"
    model.graph.node.insert(0, onnx.helper.make_node("Add", ["scaled", "mean"], ["x"]))
    model.graph.node.insert(0, onnx.helper.make_node("Mul", ["z", "std"], ["scaled"]))
    onnx.save(model, "undo.onnx")
    np.savez("normalised.npz", z=np.load("normalised.npz")["x"], labels=np.arange(40) % 4)
    common = ["--corruptions", "noise", "--corruptions", "jpeg-compression", "--threads", 1, "-q", "--json", "-"]
    found = []
    for words in (
        ("0.onnx", "--data", "pixels.npz"),
        ("undo.onnx", "--data", "normalised.npz", "--pixel-mean", MEAN, "--pixel-std", STD),
        ("undo.onnx", "--data", "normalised.npz", "--pixel-mean", "mean.npy", "--pixel-std", STD),
    ):
        assert command(monkeypatch, "evaluate", *words, *common) == 0
        rows = json.loads(capsys.readouterr().out)["rows"]
        found.append([row["values"][0]["value"] for row in rows if row["kind"] in ("clean", "corruption")])
    assert np.abs(np.array(found[1]) - found[0]).max() <= 0.026  # a byte may round the other way: one image of 40
    assert found[1] == found[2]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--epsilon", "2/255"], 2, "--epsilon needs --attack"),
        (["--attack", "fgsm", "--epsilon", "8"], 2, "'8' is no part of the pixel range"),
        (["--attack", "fgsm", "--epsilon", "1/0"], 2, "is no part of the pixel range"),
        (["--severities", "0-5"], 2, "are no severities"),
        (["--corruptions", "frost"], 1, "there is no corruption 'frost'"),
        (["--pixel-mean", "red"], 2, "neither numbers with commas"),
        (["--pixel-mean", "none.npy", "--corruptions", "noise"], 1, "none.npy cannot be read"),
        (["--pixel-mean", "0.5,0.5", "--corruptions", "noise"], 1, "--pixel-mean has the shape [2]"),
        (["--json", "1.onnx"], 1, "1.onnx"),
    ],
)
def test_mistakes_are_one_sentence(
    words: list[str],
    code: int,
    says: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command(monkeypatch, "evaluate", "0.onnx", "1.onnx", "--data", "pixels.npz", *words) == code
    printed = capsys.readouterr()
    assert says in printed.err
    assert "Traceback" not in printed.err
    assert printed.out == ""


def test_normalised_data_name_the_options(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", "0.onnx", "--data", "normalised.npz", "--threads", 1]
    assert command(monkeypatch, *words) == 0  # top-1 and calibration need no pixels
    capsys.readouterr()
    assert command(monkeypatch, *words, "--corruptions", "noise") == 1
    said = capsys.readouterr().err
    assert "no pixels in [0, 1]" in said
    assert "--pixel-mean and --pixel-std" in said


@pytest.mark.parametrize(
    ("package", "words", "extra"),
    [
        ("torch", ["--attack", "fgsm"], "torch"),
        ("codecarbon", ["--energy"], "energy"),
        ("PIL.Image", ["--corruptions", "digital"], "robustness"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(
    package: str,
    words: list[str],
    extra: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert command(monkeypatch, "evaluate", "0.onnx", "--data", "pixels.npz", *words) == 6
    assert f"pip install 'graphprune[{extra}]'" in capsys.readouterr().err


def test_help_fits_and_needs_nothing_heavy(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(monkeypatch, "evaluate", "--help") == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80
    code = "import sys\nimport graphprune.cli.evaluate\n"
    code += "print(*(m for m in ('numpy', 'onnx', 'torch', 'rich', 'scipy', 'PIL') if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
