"""docs/toolchains.md: its workflow parses, its commands are ours and run, its gates open and shut."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.command import command
from tests.graphs import residual_mlp

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "toolchains.md").read_text()


def steps() -> dict[str, str]:
    """The commands of the GitHub workflow by the names of their steps."""
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    block = re.search(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    assert block is not None
    workflow: dict[Any, Any] = yaml.safe_load(block[1])
    assert workflow[True] == ["push"]  # what YAML 1.1 makes of the key `on`
    (job,) = workflow["jobs"].values()
    assert all(("uses" in step) != ("run" in step) for step in job["steps"])
    (upload,) = (step for step in job["steps"] if "upload-artifact" in step.get("uses", ""))
    assert upload["with"]["path"].split() == ["small.onnx", "plan.json", "result.json", "bench.json"]
    return {step["name"]: step["run"] for step in job["steps"] if "run" in step}


def test_workflow_runs_and_its_gates_open_and_shut(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = steps()
    assert len(commands) == 5
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    onnx.save(residual_mlp(6), "models/fashion_resnet32.onnx")  # a smaller one under its name
    samples = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
    for name in ("calibration", "eval"):
        np.savez(f"models/fashion_{name}.npz", x=samples)
    for name, more in (("Prune", ["--no-bench"]), ("Time again, longer", ["--duration", "0"])):
        program, *words = shlex.split(commands[name])
        assert program == "graphprune"
        assert command(monkeypatch, *words, *more) == 0, capsys.readouterr().err
    assert all(Path(name).is_file() for name in ("small.onnx", "plan.json", "result.json", "bench.json"))

    if shutil.which("jq") is None:
        pytest.skip("jq is not installed; GitHub's runners have it")
    result, bench = (json.loads((tmp_path / name).read_text()) for name in ("result.json", "bench.json"))
    for after, code in ((0.9, 0), (0.895, 0), (0.885, 1)):
        result["evaluation"] |= {"before": 0.9, "after": after}
        assert gate(commands["At most one point lost"], "result.json", result, tmp_path) == code
    for high, code in ((0.85, 0), (0.95, 1)):
        bench["measurements"][0]["comparison"]["ratio_high"] = high
        assert gate(commands["Surely a tenth faster"], "bench.json", bench, tmp_path) == code


def gate(run: str, path: str, content: dict[str, Any], folder: Path) -> int:
    (folder / path).write_text(json.dumps(content))
    return subprocess.run(run, shell=True, cwd=folder, capture_output=True, check=False).returncode


def test_settings_of_olive_are_those_that_are_listed() -> None:
    from graphprune.integrations import olive_settings

    pytest.importorskip("olive", reason="Olive is not installed (pip install 'graphprune[olive]')")
    from graphprune.base.extras import olive

    settings = olive_settings._settings(olive("passes.pass_config").PassConfigParam)
    assert not [name for name in settings if f"`{name}`" not in TEXT and name != "data_config"]
    files = re.findall(r"docs/olive/\w+\.json", TEXT)
    assert files
    assert all((ROOT / file).is_file() for file in files)
