"""The README's commands do what it says, and its map names every room."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tools import architecture

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def console_commands() -> list[str]:
    """Every line of the README's console blocks, comments taken off."""
    blocks = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    return [line.split("  #")[0].strip() for block in blocks for line in block.splitlines() if line.strip()]


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "80"}
    return subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def without_times(text: str) -> list[str]:
    """Times differ from run to run; everything else must be what the README shows."""
    timed = r"faster|difference in|SLOWER| ms|^─+$"  # rules are as wide as the widest time
    return [" ".join(line.split()) for line in text.splitlines() if line.strip() and not re.search(timed, line.strip())]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the shipped models and a model.onnx, as the README's examples assume."""
    (tmp_path / "models").symlink_to(ROOT / "models")
    (tmp_path / "model.onnx").symlink_to(ROOT / "models" / "fashion_resnet32.onnx")
    for name, source, count in (("calib", "fashion_calibration.npz", 64), ("test", "fashion_eval.npz", 300)):
        with np.load(ROOT / "models" / source) as arrays:  # a part: these examples need to run, not to be good
            np.savez(tmp_path / f"{name}.npz", **{key: arrays[key][:count] for key in arrays.files})
    return tmp_path


@pytest.mark.slow
def test_main_command_prunes_and_prints_the_table(checkout: Path) -> None:
    install, _, prune = console_commands()[0].partition(" && ")
    assert install == "pip install -e '.[cpu]'"  # .ci/run does that part in a fresh environment
    done = run(prune, checkout)
    assert done.returncode == 0, done.stderr
    shown = re.search(r"```text\n(.*?)```", README, re.DOTALL)
    assert shown is not None

    shows, prints = without_times(shown[1]), without_times(done.stdout)
    number = r"[-+]?\d[\d,.]*(?:e[-+]?\d+)?"
    assert [re.sub(number, "#", line) for line in prints] == [re.sub(number, "#", line) for line in shows]
    for line, other in zip(prints, shows, strict=True):
        for one, two in zip(re.findall(number, line), re.findall(number, other), strict=True):
            # Other processors round otherwise: a score or an image may differ, a count may not.
            assert float(one.replace(",", "")) == pytest.approx(float(two.replace(",", "")), rel=0.02, abs=1e-4)
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert (checkout / "small.onnx").is_file()


@pytest.mark.slow
def test_examples_run(checkout: Path) -> None:
    """In the order in which they stand: some read what others write."""
    commands = [c for c in console_commands() if c.startswith("graphprune")]
    assert len(commands) >= 7
    for command in commands:
        done = run(command, checkout)
        assert done.returncode == 0, f"{command}\n{done.stderr}"


@pytest.mark.slow
def test_python_example_runs(checkout: Path) -> None:
    example = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert example is not None
    assert "models/fashion_calibration.npz" in example[1]
    (checkout / "example.py").write_text(example[1].replace("models/fashion_calibration.npz", "calib.npz"))  # a part
    done = run(f"{sys.executable} example.py", checkout)
    assert done.returncode == 0, done.stderr
    speed_up, error = map(float, done.stdout.split())
    assert speed_up > 0
    assert error <= 1e-4


def test_code_map_and_picture_are_those_of_the_rooms() -> None:
    """``python tools/architecture.py`` writes both again."""
    assert architecture.readme() == README
    assert architecture.picture() == architecture.PICTURE.read_text()


def test_every_room_has_its_layer() -> None:
    rooms = {p.stem for p in (ROOT / "graphprune").iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    rooms |= {"passes"}  # which is no folder in a checkout without symbolic links
    assert rooms - {"__init__", "__main__"} == {room.name for layer in architecture.layers() for room in layer}


def test_every_pass_has_its_five_places() -> None:
    from graphprune import passes

    for name in passes.names():
        module = name.replace("-", "_")
        assert passes.find(name).__module__ == f"graphprune.passes.{module}"
        assert (ROOT / "passes" / f"{module}.py").is_file()
        assert (ROOT / "tests" / "passes" / f"test_{module}.py").is_file()
        assert f"| `{name}` |" in README
