"""The largest cut within a budget of loss: found, written, told, or refused."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import graphprune
from graphprune import DataOptions, FilterMagnitude, LayerCKA, MaxDrop, RunOptions, RuntimeOptions, TimingOptions
from graphprune.errors import DataError, OptionError, TargetNotReached
from graphprune.evaluation.metric import Batches
from graphprune.pass_infra.base import Pass
from graphprune.pass_infra.proposals import decision_key
from graphprune.pass_infra.unit_pass import UnitPass
from graphprune.pipeline.cuts import ScoredCuts
from graphprune.pipeline.decide import decide
from graphprune.pipeline.rounds import Rounds
from graphprune.plan.plan import Plan
from graphprune.plan.target import Target
from graphprune.report.result import Result
from graphprune.run.loaded import prepare
from graphprune.runtime import turns
from graphprune.runtime.sessions import open_session
from graphprune.training import TrainOptions
from tests.command import command
from tests.graphs import residual_mlp
from tests.report.html_page import Page
from tests.schemas import assert_published

ROWS = np.random.default_rng(0).standard_normal((600, 4)).astype(np.float32)
OPTIONS = RunOptions(align=1, timing=TimingOptions(measure_latency=False), runtime=RuntimeOptions(threads=1))


def _pruned(max_drop: str | MaxDrop, target: str | None = None, name: str | Pass = "filter-magnitude") -> Result:
    return graphprune.prune(residual_mlp(4, 16), name, {"x": ROWS}, target, max_drop=max_drop, options=OPTIONS)


def test_the_largest_cut_within_keeps_and_a_step_further_does_not() -> None:
    result = _pruned("6%")
    budget = result.plan.budget
    assert budget
    assert budget.reached is not None and budget.beyond is not None
    assert budget.reached.high is not None and budget.beyond.drop.high is not None
    assert budget.reached.high <= 0.06 < budget.beyond.drop.high
    assert 0 < result.after.macs - budget.beyond.macs <= 0.011 * result.before.macs
    assert result.evaluation is not None
    assert result.evaluation.samples == budget.reached.samples == 120 - 20 + 20
    assert result.evaluation.after == pytest.approx(1 - budget.reached.value)
    assert result.plan.data["limit"] == 512
    assert all(tried.is_within == (tried.macs >= result.after.macs) for tried in budget.trials)


def test_the_original_runs_once_on_what_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many cuts are tried, and for the result with and without its repair."""
    runs: Counter[str] = Counter()

    class Counted:
        def __init__(self, model: Path | onnx.ModelProto, options: RuntimeOptions, *how: Any, **more: Any) -> None:
            content = model.read_bytes() if isinstance(model, Path) else model.SerializeToString(deterministic=True)
            self._name, self._inner = hashlib.sha256(content).hexdigest(), open_session(model, options, *how, **more)

        def run(self, outputs: Any, feeds: Any) -> Any:
            runs[self._name] += 1
            return self._inner.run(outputs, feeds)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

    monkeypatch.setattr(turns, "open_session", Counted)
    result = _pruned("6%")
    assert result.plan.budget and result.unrepaired and result.evaluation
    trials, batches = len(result.plan.budget.trials), -(-result.evaluation.samples // OPTIONS.batch)
    assert trials > 3 and batches > 1
    original = hashlib.sha256(residual_mlp(4, 16).SerializeToString(deterministic=True)).hexdigest()
    assert runs.pop(original) == batches
    assert sum(runs.values()) == (trials + 2) * batches


def test_the_estimate_allows_more_than_the_interval() -> None:
    cautious, bold = _pruned("6%"), _pruned(MaxDrop(0.06, "estimate"))
    assert bold.after.macs < cautious.after.macs
    assert bold.plan.budget
    assert bold.plan.budget.reached is not None and bold.plan.budget.reached.value <= 0.06


def test_with_a_target_both_hold() -> None:
    plain = graphprune.prune(
        residual_mlp(4, 16),
        "filter-magnitude",
        {"x": ROWS},
        "flops=0.9",
        options=replace(OPTIONS, data=DataOptions(evaluation="held-out")),
    )
    result = _pruned("6%", "flops=0.9")
    assert result.plan.asked == "flops=0.9"
    assert (result.plan.decisions, result.evaluation) == (plain.plan.decisions, plain.evaluation)
    assert plain.plan.to_json() == replace(result.plan, budget=plain.plan.budget).to_json()
    with pytest.raises(TargetNotReached, match=r"flops=0\.4 is out of reach within --max-drop 6%.*largest cut within"):
        _pruned("6%", "flops=0.4")


def test_no_cut_within_ends_with_the_smallest_and_what_would_help() -> None:
    with pytest.raises(TargetNotReached, match=r"no cut keeps within --max-drop 0\.5%.*upper end.*drop-by estimate"):
        _pruned("0.5%")


def test_what_cannot_be_judged_is_refused() -> None:
    with pytest.raises(DataError, match="measured on samples"):
        graphprune.prune(residual_mlp(2), "filter-magnitude", max_drop="1%", options=OPTIONS)
    with pytest.raises(OptionError, match="tries cuts without training"):
        recovery = replace(OPTIONS.recovery, finetune=TrainOptions(), finetune_every="removal")
        options = replace(OPTIONS, recovery=recovery)
        graphprune.prune(residual_mlp(2), "layer-cka", {"x": ROWS}, max_drop="1%", options=options)
    with pytest.raises(DataError, match="too few samples"):
        graphprune.prune(residual_mlp(2), "layer-cka", {"x": ROWS[:4]}, max_drop="1%", options=OPTIONS)


def test_a_metric_that_rises_has_to_say_whether_that_is_good() -> None:
    def squares(batches: Batches) -> float:
        """The pruned network's outputs are noisier."""
        return float(np.mean([np.square(outputs["y"] - 3 * outputs["y"].round()).mean() for outputs, _ in batches]))

    def fallen(batches: Batches) -> float:
        return -squares(batches)

    options = replace(OPTIONS, data=DataOptions(metric=squares))
    with pytest.raises(OptionError, match=r"squares.lower_is_better = True"):
        for sign in (squares, fallen):  # one of the two goes up
            options = replace(options, data=DataOptions(metric=sign))
            graphprune.prune(residual_mlp(4), "filter-magnitude", {"x": ROWS}, max_drop="0.0001%", options=options)


@pytest.mark.parametrize("passes", [(FilterMagnitude(),), (LayerCKA(),), (LayerCKA(), FilterMagnitude())])
def test_cuts_are_those_of_single_runs(passes: tuple[Pass, ...]) -> None:
    loaded = prepare(residual_mlp(4, 16), {"x": ROWS[:64]}, OPTIONS)
    with ScoredCuts(loaded, passes, OPTIONS, None) as cuts:
        for text in ("flops=0.5", "flops=0.9", "params=0.7", "removed=2", "flops=0.45"):
            target = Target.parse(text)
            alone, small = decide(loaded, passes, target, OPTIONS, Rounds(loaded, OPTIONS), None, None, dry_run=True)
            cut = cuts.at(target)
            assert [*map(decision_key, cut.decisions)] == [*map(decision_key, alone)]
            assert list(cut.decisions) == alone
            assert cut.small.cost == small.cost


@pytest.mark.parametrize("name", ["filter-magnitude", "layer-cka"])
def test_one_scoring_serves_all_trials(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    kind: Any = FilterMagnitude if name == "filter-magnitude" else LayerCKA
    score = kind.score

    def counted(self: UnitPass, *given: object) -> object:
        calls.append(1)
        return score(self, *given)

    monkeypatch.setattr(kind, "score", counted)
    result = _pruned("60%", name=name)
    assert result.plan.budget and len(result.plan.budget.trials) > 1
    assert len(calls) == (1 if name == "filter-magnitude" else 4)  # a block once, however many trials


def test_what_may_go_ends_the_search_where_all_of_it_is_within() -> None:
    result = _pruned(MaxDrop(9.0), name="layer-cka")
    assert len(result.plan.blocks) == 4
    assert result.plan.budget and result.plan.budget.beyond is None


def test_the_command_tells_it_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx.save(residual_mlp(4, 16), tmp_path / "net.onnx")
    np.savez(tmp_path / "data.npz", x=ROWS)
    words = [tmp_path / "net.onnx", "--pass", "filter-magnitude", "--data", tmp_path / "data.npz", "--no-bench"]
    words += ["--threads", 1, "--align", 1, "-o", tmp_path / "small.onnx", "--json", tmp_path / "r.json"]
    words += ["--plan-out", tmp_path / "plan.json", "--report", tmp_path / "r.html"]
    assert command(monkeypatch, *words, "--max-drop", "6%") == 0
    captured = capsys.readouterr()
    assert "may lose 6%, by the upper end" in captured.out
    assert "it would have lost" in " ".join(captured.out.split())
    assert "chosen on the 120 samples" in captured.err
    content = json.loads((tmp_path / "r.json").read_text())
    assert_published(content)
    plan = Plan.load(tmp_path / "plan.json")
    assert_published(json.loads((tmp_path / "plan.json").read_text()))
    assert plan.asked == content["asked"] == "max-drop=6%"
    assert plan.budget and len(plan.budget.trials) == len(content["plan"]["budget"]["trials"])
    page = Page((tmp_path / "r.html").read_text())
    assert "What may be lost, and what is" in page.text
    assert "too much" in page.text
    assert command(monkeypatch, *words[:-2], "--max-drop", "0.1%") == 4
    assert "no cut keeps within" in capsys.readouterr().err
    again = [tmp_path / "net.onnx", tmp_path / "plan.json", "--data", tmp_path / "data.npz", "--no-bench"]
    assert command(monkeypatch, "apply", *again, "--threads", 1, "-o", tmp_path / "again.onnx") == 0
