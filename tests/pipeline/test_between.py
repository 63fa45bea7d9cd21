"""Between passes: the hooks see each decision with the network that it left; one looks at every graph by itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

import graphprune
from graphprune import RecoveryOptions, RunOptions, RuntimeOptions, TimingOptions
from graphprune.analysis.model_analysis import ModelAnalysis
from graphprune.errors import InputError, ValidationFailed
from graphprune.pipeline import decide
from graphprune.pipeline.between import Dump
from graphprune.plan.plan import Decision
from graphprune.rewrite import apply
from tests.command import command
from tests.graphs import random_feeds, residual_mlp, run

OPTIONS = RunOptions(
    align=1,
    timing=TimingOptions(measure_latency=False),
    recovery=RecoveryOptions(repair=()),
    runtime=RuntimeOptions(threads=1),
)
PASSES = ["layer-cka", "filter-magnitude{ratio=0.2}"]


def pruned(options: RunOptions) -> graphprune.Result:
    proto = residual_mlp(4)
    return graphprune.prune(proto, PASSES, random_feeds(proto, 40), "removed=3", options=options)


def test_hooks_see_each_decision_and_the_network_after_it() -> None:
    seen: list[tuple[Decision, int, float]] = []

    def look(decision: Decision, analysis: ModelAnalysis, seconds: float) -> None:
        seen.append((decision, analysis.cost.macs, seconds))

    result = pruned(replace(OPTIONS, between=(look,)))
    assert tuple(decision for decision, _, _ in seen) == result.plan.decisions
    assert [decision.spec for decision, _, _ in seen] == PASSES
    assert seen[-1][1] == result.after.macs <= seen[0][1] < result.before.macs
    assert all(seconds > 0 for _, _, seconds in seen)


def test_dumped_networks_are_those_on_the_way(tmp_path: Path) -> None:
    result = pruned(replace(OPTIONS, between=(Dump(tmp_path / "passes"),)))
    names = ["01-layer-cka.onnx", "02-filter-magnitude.onnx"]
    assert sorted(path.name for path in (tmp_path / "passes").iterdir()) == names
    feeds = random_feeds(residual_mlp(4), 5)
    assert result.model is not None
    last = onnx.load(tmp_path / "passes" / names[-1])
    np.testing.assert_array_equal(run(last, feeds)[0], run(graphprune.ir.export.to_proto(result.model), feeds)[0])


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot make the folder"):
        pruned(replace(OPTIONS, between=(Dump(tmp_path / "file" / "passes"),)))


def test_a_graph_that_a_pass_has_broken_is_found_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = apply.execute

    def careless(analysis: ModelAnalysis, *more: object) -> ModelAnalysis:
        found = honest(analysis, *more)  # type: ignore[arg-type]
        found.model.graph.nodes.reverse()
        return found

    monkeypatch.setattr(decide, "execute", careless)
    with pytest.raises(ValidationFailed, match="the network after pass layer-cka does not hang together"):
        pruned(OPTIONS)


def test_the_command_dumps_and_with_v_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    proto = residual_mlp(4)
    onnx.save(proto, tmp_path / "net.onnx")
    np.savez(tmp_path / "data.npz", x=random_feeds(proto, 40)["x"])
    words = [tmp_path / "net.onnx", "--pass", "layer-cka", "--target", "removed=2", "--data", tmp_path / "data.npz"]
    words += ["--no-bench", "--repair", "none", "-o", tmp_path / "small.onnx", "--dump-passes", tmp_path / "passes"]
    caplog.set_level("INFO", logger="graphprune.passes")
    assert command(monkeypatch, *words, "-v") == 0
    assert [path.name for path in (tmp_path / "passes").iterdir()] == ["01-layer-cka.onnx"]
    told = [record.message for record in caplog.records if record.name == "graphprune.passes"]
    assert len(told) == 1
    assert told[0].startswith("pass layer-cka: 2 blocks and 0 units gone, ")
    caplog.clear()
    assert command(monkeypatch, *words) == 0
    assert not [record for record in caplog.records if record.name == "graphprune.passes"]
