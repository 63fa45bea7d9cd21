"""``--pass auto``: what is tried, what is kept, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import graphprune
from graphprune import RunOptions, RuntimeOptions, TimingOptions
from graphprune.errors import TargetNotReached
from graphprune.pipeline.rivals import sensible
from graphprune.run.loaded import prepare
from tests.command import command
from tests.graphs import residual_mlp

ROWS = np.random.default_rng(0).standard_normal((300, 4)).astype(np.float32)
OPTIONS = RunOptions(align=1, timing=TimingOptions(measure_latency=False), runtime=RuntimeOptions(threads=1))


def test_what_is_sensible_depends_on_network_and_data() -> None:
    assert sensible(prepare(residual_mlp(3), {"x": ROWS}, OPTIONS)) == ["layer-cka", "filter-obs"]
    assert sensible(prepare(residual_mlp(3), None, OPTIONS)) == ["filter-magnitude", "layer-magnitude"]
    assert sensible(prepare(residual_mlp(0), {"x": ROWS}, OPTIONS)) == ["filter-obs"]


def test_the_pass_that_loses_least_is_kept() -> None:
    found = graphprune.prune(residual_mlp(6, 16), "auto", {"x": ROWS}, "flops=0.8", options=OPTIONS)
    note = next(note for note in found.notes if note.startswith("pass auto took filter-obs: layer-cka loses "))
    assert "; filter-obs loses " in note
    assert found.evaluation is not None
    assert f"filter-obs loses {100 * (1 - found.evaluation.after):.2f} pt" in note
    assert found.plan.decisions[0].spec == "filter-obs"
    assert found.evaluation.samples == 60


def test_a_pass_that_cannot_is_passed_over() -> None:
    found = graphprune.prune(residual_mlp(6, 16), "auto", {"x": ROWS}, "removed=20", options=OPTIONS)
    assert found.plan.decisions[0].spec == "filter-obs"
    assert any("layer-cka does not (the target removed=20 cannot be reached" in note for note in found.notes)
    with pytest.raises(TargetNotReached):
        graphprune.prune(residual_mlp(2), "auto", {"x": ROWS}, "flops=0.01", options=OPTIONS)


def test_within_a_budget_the_pass_that_leaves_least_is_kept() -> None:
    given = (residual_mlp(4, 16), {"x": ROWS})
    found = graphprune.prune(given[0], "auto", given[1], max_drop="15%", options=OPTIONS)
    for name in ("layer-cka", "filter-obs"):
        try:
            alone = graphprune.prune(given[0], name, given[1], max_drop="15%", options=OPTIONS)
        except TargetNotReached:
            continue
        assert found.after.macs <= alone.after.macs


def test_without_a_pass_but_with_data_the_command_does_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx.save(residual_mlp(4, 16), tmp_path / "net.onnx")
    np.savez(tmp_path / "data.npz", x=ROWS)
    words = [tmp_path / "net.onnx", "--no-bench", "--threads", 1, "--align", 1, "-o", tmp_path / "small.onnx"]
    assert command(monkeypatch, *words) == 1
    assert "no pass was given" in capsys.readouterr().err
    assert command(monkeypatch, *words, "--data", tmp_path / "data.npz") == 0
    assert "pass auto took" in capsys.readouterr().err
