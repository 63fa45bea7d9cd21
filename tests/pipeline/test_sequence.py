"""The order of the work, as the progress tells it; and that what fails in it leaves nothing."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest

import graphprune
from graphprune import DataOptions, RecoveryOptions, RunOptions, RuntimeOptions, TimingOptions
from graphprune.errors import NotFaster
from graphprune.measure.runtime import Measurement
from graphprune.measure.timing import Comparison, Latency
from graphprune.report.result import Result
from tests.graphs import random_feeds, residual_mlp

ROWS = {"x": np.random.default_rng(0).standard_normal((48, 4)).astype(np.float32)}


class Told:
    """Which tasks the progress named, and how often the pipeline timed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, ratio: float = 0.5) -> None:
        self.tasks: list[str] = []
        times = Comparison(Latency(2, 2, 2), Latency(2 * ratio, 2 * ratio, 2 * ratio), ratio, ratio, ratio, 30)
        environment = {"runtime": "a clock", "provider": "none"}
        monkeypatch.setattr("graphprune.pipeline.measured.measure", lambda *_, **__: Measurement(times, 1, environment))

    def progress(self, task: str, done: int, total: int, /) -> None:
        self.tasks.append(task)

    def options(self, *, is_trained: bool = False) -> RunOptions:
        recovery = RecoveryOptions(repair=("stats",))
        if is_trained:
            from graphprune.training import TrainOptions

            training = TrainOptions.parse("epochs=1,batch=16,lr=0.001,device=cpu,augment=none")
            recovery = replace(recovery, finetune=training)
        return RunOptions(
            align=1,
            data=DataOptions(evaluation=random_feeds(residual_mlp(4), 8)),
            recovery=recovery,
            runtime=RuntimeOptions(threads=1),
            progress=self.progress,
        )

    def steps(self) -> list[str]:
        """The tasks from the first writing on, each once while it goes on."""
        names = [name for name, _ in groupby(task.partition(":")[0] for task in self.tasks)]
        return names[names.index("writing") :]


def test_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told(monkeypatch)
    result = graphprune.prune(residual_mlp(4), ["layer-cka"], ROWS, "removed=1", options=told.options())
    assert told.steps() == ["writing", "validating", "evaluating", "repair stats", "evaluating", "measuring"]
    assert result.plan.asked == "removed=1" and result.plan.reached == 1  # the time has no say in it


def test_a_file_is_timed_before_it_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="training needs PyTorch")
    told = Told(monkeypatch)
    options = told.options(is_trained=True)
    graphprune.prune(residual_mlp(4), ["layer-cka"], ROWS, "removed=1", options=options)
    steps = told.steps()
    first, last = steps.index("measuring"), len(steps) - 1
    assert steps[:first] == ["writing", "validating"]
    assert steps[first + 1 : first + 3] == ["evaluating", "repair stats"]
    assert steps[last - 1 :] == ["evaluating", "measuring"]
    assert any("training" in step for step in steps[first + 3 : last - 1])


def test_training_is_not_begun_for_what_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="training needs PyTorch")
    told = Told(monkeypatch, ratio=1.5)
    options, out = told.options(is_trained=True), tmp_path / "small.onnx"
    with pytest.raises(NotFaster):
        graphprune.prune(residual_mlp(4), ["layer-cka"], ROWS, "removed=1", out, options=options)
    assert told.steps() == ["writing", "validating", "measuring"]
    assert not list(tmp_path.iterdir())


def test_what_belongs_to_the_model_comes_before_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    out = tmp_path / "small.onnx"
    seen: list[tuple[Result, bool]] = []
    told = Told(monkeypatch)
    options = replace(told.options(), timing=TimingOptions(measure_latency=False))
    result = graphprune.prune(
        residual_mlp(4),
        ["layer-cka"],
        ROWS,
        "removed=1",
        out,
        options=options,
        save=lambda result: seen.append((result, out.exists())),
    )
    assert seen == [(result, False)]
    assert out.is_file()
