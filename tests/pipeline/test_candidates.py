"""Several results from one scoring, and which of them are worth having."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

import graphprune
from graphprune import FilterMagnitude, RunOptions, RuntimeOptions, TimingOptions
from graphprune.analysis.groups import Group
from graphprune.errors import OptionError, TargetNotReached
from graphprune.pass_infra.context import Context
from graphprune.pipeline.candidates import spread
from graphprune.plan.plan import Plan
from graphprune.plan.target import Target
from graphprune.report.candidates import is_beaten, on_front
from tests.command import command
from tests.graphs import residual_mlp
from tests.report.html_page import Page
from tests.schemas import assert_published

ROWS = np.random.default_rng(0).standard_normal((300, 4)).astype(np.float32)
OPTIONS = RunOptions(align=1, timing=TimingOptions(measure_latency=False), runtime=RuntimeOptions(threads=1))


def _counted(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Grows by one for each scoring."""
    calls: list[object] = []
    score = FilterMagnitude.score

    def counted(self: FilterMagnitude, context: Context, groups: Sequence[Group]) -> object:
        calls.append(context)
        return score(self, context, groups)

    monkeypatch.setattr(FilterMagnitude, "score", counted)
    return calls


def test_targets_are_spread_evenly_or_listed() -> None:
    assert [str(each) for each in spread("flops=0.6", 4)] == ["flops=0.9", "flops=0.8", "flops=0.7", "flops=0.6"]
    assert [str(each) for each in spread(None, 2)] == ["flops=0.75", "flops=0.5"]
    assert [str(each) for each in spread("removed=3", 5)] == ["removed=1", "removed=2", "removed=3"]
    assert [str(each) for each in spread("latency=0.9,0.5", None)] == ["latency=0.9", "latency=0.5"]
    assert spread(["params=0.5", Target("removed", 2)], None) == [Target("params", 0.5), Target("removed", 2)]
    for targets, count in (("flops=0.5", None), ("flops=0.9,0.8", 3), ("latency=5ms", 3), ("flops=0.5", 1)):
        with pytest.raises(OptionError):
            spread(targets, count)


def test_the_front_is_what_no_other_beats() -> None:
    assert is_beaten((0.1, 0.9, 10, 10), (0.1, 0.8, 10, 10))
    assert not is_beaten((0.1, 0.9, 10, 10), (0.2, 0.8, 10, 10))
    assert not is_beaten((0.1, 0.9, 10, 10), (0.1, 0.9, 10, 10))
    assert is_beaten((0.1, None, 10, 10), (0.05, 0.9, 10, 10))


def test_each_is_what_a_run_of_its_own_makes_and_scores_are_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = _counted(monkeypatch)
    onnx.save(residual_mlp(4, 16), tmp_path / "net.onnx")
    given = (tmp_path / "net.onnx", "filter-magnitude", {"x": ROWS})
    found, results = graphprune.candidates(*given, "flops=0.9,0.7", tmp_path / "small.onnx", options=OPTIONS)
    assert len(calls) == 1
    alone = graphprune.prune(
        *given, "flops=0.7", options=replace(OPTIONS, data=replace(OPTIONS.data, evaluation="held-out"))
    )
    assert results[1] is not None
    assert (results[1].plan, results[1].evaluation) == (alone.plan, alone.evaluation)
    assert onnx.load(tmp_path / "small.2.onnx") == alone.to_onnx()
    assert Plan.load(tmp_path / "small.2.plan.json") == alone.plan
    assert on_front(found.candidates) == [each.is_front for each in found.candidates]
    assert alone.evaluation is not None
    assert found.candidates[1].lost == pytest.approx(1 - alone.evaluation.after)
    assert (found.macs, found.bytes) == (alone.before.macs, alone.before.bytes)


def test_one_that_is_out_of_reach_is_told_and_the_others_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx.save(residual_mlp(4, 16), tmp_path / "net.onnx")
    np.savez(tmp_path / "data.npz", x=ROWS)
    words = [
        tmp_path / "net.onnx",
        "--pass",
        "layer-cka",
        "--data",
        tmp_path / "data.npz",
        "--no-bench",
        "--threads",
        1,
    ]
    words += ["-o", tmp_path / "small.onnx", "--json", tmp_path / "c.json", "--report", tmp_path / "c.html"]
    assert command(monkeypatch, *words, "--target", "removed=2,9,1") == 0
    out = capsys.readouterr().out
    assert "not written" in out and "removed=9 cannot be reached" in " ".join(out.split())
    assert not (tmp_path / "small.2.onnx").exists()
    assert (tmp_path / "small.3.plan.json").exists()
    content = json.loads((tmp_path / "c.json").read_text())
    assert_published(content)
    assert [bool(each["why"]) for each in content["candidates"]] == [False, True, False]
    page = Page((tmp_path / "c.html").read_text())
    assert f"graphprune apply {tmp_path}/net.onnx {tmp_path}/small.1.plan.json" in page.text
    assert sum(tag == "svg" for tag, _ in page.elements) == 2  # loss against MACs and size
    assert command(monkeypatch, *words, "--target", "removed=8,9") == 4
    assert command(monkeypatch, *words, "--candidates", 2, "--max-drop", "1%") == 2


def test_searches_for_several_times_share_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = _counted(monkeypatch)
    timing = TimingOptions(seconds=0.02, allow_slower=True, use_cache=False)
    model = residual_mlp(4, 64)
    with suppress(TargetNotReached):  # how fast it gets is not the question here
        graphprune.candidates(
            model, "filter-magnitude", {"x": ROWS}, "latency=0.97,0.9", options=replace(OPTIONS, timing=timing)
        )
    assert len(calls) == 1
