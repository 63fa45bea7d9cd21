"""``graphprune check-data`` as a command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.command import command


@pytest.fixture
def sets(tmp_path: Path) -> tuple[Path, Path]:
    x = np.random.default_rng(0).standard_normal((50, 12)).astype(np.float32)
    np.savez(tmp_path / "calib.npz", x=x[:30], labels=np.arange(30))
    np.savez(tmp_path / "test.npz", x=x[20:], labels=np.arange(30))
    return tmp_path / "calib.npz", tmp_path / "test.npz"


def test_tells_what_is_shared(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], sets: tuple[Path, Path], tmp_path: Path
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert (
        command(monkeypatch, "check-data", "--data", sets[0], "--eval", sets[1], "--json", tmp_path / "out.json") == 0
    )
    shown = capsys.readouterr()
    assert "evaluation in calibration" in shown.out
    assert max(map(len, shown.out.splitlines())) <= 80
    assert "33.3% of the evaluation samples have been seen in the calibration data" in shown.err
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["schema"] == "graphprune.data-check/1"
    assert [(pair["equal"], pair["overlapping"]) for pair in written["shared"]] == [(10, 0)]
    assert [each["samples"] for each in written["sets"]] == [30, 30]


def test_labels_do_not_make_samples_different(monkeypatch: pytest.MonkeyPatch, sets: tuple[Path, Path]) -> None:
    assert command(monkeypatch, "check-data", "--data", sets[0], "--eval", sets[1], "--strict") == 1
    few = ("--num-samples", 10)
    assert command(monkeypatch, "check-data", "--data", sets[0], "--eval", sets[1], "--strict", *few) == 0


def test_three_sets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], sets: tuple[Path, Path]
) -> None:
    words = ("--data", sets[0], "--train-data", sets[0], "--eval", sets[1], "--json", "-")
    assert command(monkeypatch, "check-data", *words) == 0
    shown = capsys.readouterr()
    assert [(pair["role"], pair["earlier"], pair["share"]) for pair in json.loads(shown.out)["shared"]] == [
        ("training", "calibration", 1.0),
        ("evaluation", "calibration", pytest.approx(1 / 3)),
        ("evaluation", "training", pytest.approx(1 / 3)),
    ]
    assert "they count twice" in " ".join(shown.err.split())


def test_a_script_that_gives_tuples(monkeypatch: pytest.MonkeyPatch, sets: tuple[Path, Path], tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        f"import numpy as np\ndef load_data():\n    z = np.load({str(sets[1])!r})\n    yield z['x'], z['labels']\n"
    )
    assert command(monkeypatch, "check-data", "--data", script, "--eval", sets[1], "--strict") == 1


def test_refuses(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], sets: tuple[Path, Path], tmp_path: Path
) -> None:
    assert command(monkeypatch, "check-data", "--data", sets[0]) == 2
    np.savez(tmp_path / "labels.npz", labels=np.arange(3))
    assert command(monkeypatch, "check-data", "--data", sets[0], "--eval", tmp_path / "labels.npz") == 1
    assert command(monkeypatch, "check-data", "--data", sets[0], "--eval", tmp_path / "none.npz") == 1
    shown = capsys.readouterr().err
    for message in ("give two of --data", "holds labels and no samples", "there is no data file"):
        assert message in shown


def test_folders_of_pictures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for number in range(30):
        picture = Image.fromarray(generator.integers(0, 256, (6, 6, 3)).astype(np.uint8)).resize((90, 60))
        for folder, numbers, quality in (("a", range(20), 95), ("b", range(15, 30), 70)):
            if number in numbers:
                (tmp_path / folder).mkdir(exist_ok=True)
                picture.save(tmp_path / folder / f"{number}.jpg", quality=quality)
    out = tmp_path / "out.json"
    assert command(monkeypatch, "check-data", "--data", tmp_path / "a", "--eval", tmp_path / "b", "--json", out) == 0
    (pair,) = json.loads(out.read_text())["shared"]
    assert (pair["equal"], pair["alike"]) == (0, 5)
