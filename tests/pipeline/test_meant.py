"""What people write and mean, though it is not what the reference says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest

import graphprune
from graphprune import RunOptions, RuntimeOptions, TimingOptions
from graphprune.errors import OptionError
from graphprune.passes.filter_magnitude import FilterMagnitude
from tests.command import command
from tests.graphs import residual_mlp

QUIET = RunOptions(timing=TimingOptions(measure_latency=False), runtime=RuntimeOptions(threads=1))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    onnx.save(residual_mlp(3), tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


@pytest.mark.parametrize(
    "passes", ["filter-magnitude", "filter_magnitude", "FilterMagnitude", FilterMagnitude(), FilterMagnitude]
)
def test_one_pass_may_stand_alone(passes: Any, model: Path) -> None:
    many = graphprune.prune(model, ["filter-magnitude"], None, "params=80%", options=QUIET)
    assert graphprune.prune(model, passes, None, "params=0.8", options=QUIET).plan == many.plan


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"passes": [3]}, "a int is no pass; give its name"),
        ({"passes": []}, "no pass was given"),
        ({"target": 0.5}, "target 0.5 does not say of what"),
        ({"options": {"batch": 8}}, r"options is a dict; give graphprune.RunOptions\(...\)"),
    ],
)
def test_else_one_sentence(more: dict[str, Any], says: str, model: Path) -> None:
    given = {"passes": ["filter-magnitude"], "target": "params=0.8"} | more
    with pytest.raises(OptionError, match=says):
        graphprune.prune(model, **given)


@pytest.mark.parametrize("folder", ["out", "out/"])
def test_an_output_folder_gets_the_usual_name(folder: str, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = model.parent / "out"
    target.mkdir()
    words = [model, "--pass", "filter-magnitude", "--target", "params=0.8", "--no-bench", "-o"]
    assert command(monkeypatch, *words, f"{model.parent}/{folder}") == 0
    assert [path.name for path in target.iterdir()] == ["net.pruned.onnx"]
    result = graphprune.prune(model, "filter-magnitude", None, "params=0.8", f"{model.parent}/{folder}", options=QUIET)
    assert result.output == target / "net.pruned.onnx"
    plan = model.parent / "plan.json"
    result.plan.save(plan)
    assert command(monkeypatch, "apply", model, plan, "--no-bench", "-o", target) == 0


def test_a_folder_that_is_not_there_is_named(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [model, "--pass", "filter-magnitude", "--target", "params=0.8", "--no-bench"]
    assert command(monkeypatch, *words, "-o", f"{model.parent}/new/") == 1
    assert "new does not exist" in " ".join(capsys.readouterr().err.split())
