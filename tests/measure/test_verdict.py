"""Never slower: the verdict on a measurement, the reasons it gives, and that a refused result is not written."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest

import graphprune
from graphprune import RunOptions, RuntimeOptions, TimingOptions
from graphprune.analysis.cost import Cost
from graphprune.errors import NotFaster, TargetNotReached
from graphprune.measure import verdict
from graphprune.measure.optimised import operators
from graphprune.measure.overhead import overhead_ms
from graphprune.measure.runtime import Measurement
from graphprune.measure.timing import Comparison, Latency
from graphprune.plan.plan import Decision, Plan, RemovedBlock, RemovedUnits
from tests.command import command
from tests.graphs import build, residual_mlp

ONE = RuntimeOptions(threads=1)


def timed(low: float, high: float, ms: float = 50.0) -> Measurement:
    ratio = (low + high) / 2
    first, second = (Latency(median, median, median) for median in (ms, ms * ratio))
    where = {"runtime": "ort", "provider": "CPUExecutionProvider"}
    return Measurement(Comparison(first, second, ratio, low, high, 30), 1, where)


def plan(*units: RemovedUnits, blocks: int = 0) -> Plan:
    gone = tuple(RemovedBlock(f"b{i}", f"j{i}", "x", "y", 1, 1, 0.0, 0.0) for i in range(blocks))
    return Plan("", (Decision("p", blocks=gone, units=units),), "flops=0.7", 0.7, 0)


def units(group: str, size: int, kept: int, kind: str = "filters") -> RemovedUnits:
    return RemovedUnits(group, kind, size, tuple(range(size - kept)), 1, 1)


def judge(
    measurement: Measurement, decided: Plan, first: onnx.ModelProto | None = None, is_align_auto: bool = False
) -> None:
    model = first or residual_mlp(2)
    cut = verdict.TimedCut(model, model, None, decided, (Cost(100, 1), Cost(70, 1)), ONE, None, is_align_auto)
    verdict.refuse_slower(measurement, cut)


@pytest.fixture(autouse=True)
def eight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever processor the tests run on."""
    monkeypatch.setattr(verdict, "multiple_for", lambda options, folder: 8)


def test_faster_is_accepted() -> None:
    judge(timed(0.90, 0.99), plan(units("g", 64, 61)))


@pytest.mark.parametrize(
    ("low", "high", "says"), [(0.97, 1.0, "no faster"), (0.97, 1.02, "no faster"), (1.01, 1.04, "slower")]
)
def test_an_interval_that_does_not_stay_below_one_is_refused(low: float, high: float, says: str) -> None:
    with pytest.raises(NotFaster, match=f"the result is {says} than the original on ort") as caught:
        judge(timed(low, high), plan(units("g", 64, 61)))
    assert NotFaster.exit_code == TargetNotReached.exit_code == 4
    assert f"[{low:.3f}, {high:.3f}]" in caught.value.message
    assert "--allow-slower" in caught.value.fix


def test_odd_widths_are_named_with_the_multiple_that_fits() -> None:
    decided = plan(
        units("wide", 64, 61),
        units("narrow", 12, 7),
        units("tiny", 3, 2),
        units("even", 64, 56),
        units("heads", 12, 11, "heads"),
    )
    with pytest.raises(NotFaster) as caught:
        judge(timed(1.0, 1.1), decided)
    assert "odd widths: wide keeps 61 of 64, no multiple of 8; narrow keeps 7 of 12, no multiple of 4" in str(
        caught.value
    )
    assert "even keeps" not in str(caught.value)
    assert "heads keeps" not in str(caught.value)
    assert "tiny keeps" not in str(caught.value)
    assert "--align auto" in caught.value.fix
    assert "layer-cka" in caught.value.fix


def test_who_had_auto_is_not_told_to_try_it() -> None:
    """It goes below its multiple where a target is out of reach otherwise."""
    with pytest.raises(NotFaster) as caught:
        judge(timed(1.0, 1.1), plan(units("g", 64, 52)), is_align_auto=True)
    assert "no multiple of 8" in str(caught.value)
    assert "--align auto" not in caught.value.fix
    assert "a target that such multiples reach" in caught.value.fix


def test_the_last_cut_of_a_group_counts() -> None:
    twice = Plan("", (Decision("p", units=(units("g", 64, 61),)), Decision("q", units=(units("g", 61, 56),))), "", 0, 0)
    assert verdict.odd_widths(twice, 8) == []


def test_a_network_bound_by_launches_is_told_so() -> None:
    """The little network's whole time is less than starting its operators takes."""
    with pytest.raises(NotFaster, match=r"bound by launches: of 0\.001 ms") as caught:
        judge(timed(0.99, 1.01, ms=0.001), plan(blocks=1))
    assert "a larger --batch than 1" in caught.value.fix
    assert "layer-cka" not in caught.value.fix
    with pytest.raises(NotFaster) as caught:
        judge(timed(0.99, 1.01, ms=50.0), plan(blocks=1))
    assert "launches" not in str(caught.value)
    assert "30.0 % of the MACs that went take no measurable time" in str(caught.value)


def test_overhead_grows_with_the_operators() -> None:
    few, many = overhead_ms(10, ONE), overhead_ms(10_000, ONE)
    assert 0 < few < many


def test_lost_fusions_are_counted_by_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = iter([Counter({"FusedConv": 3}), Counter({"FusedConv": 1, "Conv": 2, "Relu": 2})])
    monkeypatch.setattr(verdict, "operators", lambda *_: next(counts))
    with pytest.raises(NotFaster, match="fusions lost: the runtime needs 2 Conv, 2 Relu more"):
        judge(timed(0.99, 1.01), plan(blocks=1))


def test_operators_are_those_after_optimisation() -> None:
    proto = build(
        "(float[N,3,8,8] x) => (float[N,3,8,8] y) { [c] a = Conv<pads = [1, 1, 1, 1]>(x, w) [r] y = Relu(a) }",
        {"w": (3, 3, 3, 3)},
    )
    counts = operators(proto, ONE)
    assert counts is not None
    assert counts["Relu"] == 0
    assert counts["nchwc.Conv"] + counts["FusedConv"] + counts["microsoft.FusedConv"] + counts["Conv"] == 1


def sleepy(monkeypatch: pytest.MonkeyPatch, low: float, high: float) -> list[float]:
    """The pipeline's timing replaced by an answer; the list collects how long it would have gone on."""
    patience: list[float] = []

    def answer(*_: object, undecided_seconds: float, **__: object) -> Measurement:
        patience.append(undecided_seconds)
        return timed(low, high)

    monkeypatch.setattr("graphprune.pipeline.measured.measure", answer)
    return patience


def test_a_slower_result_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out, plan_out = (tmp_path / name for name in ("net.onnx", "small.onnx", "plan.json"))
    onnx.save(residual_mlp(4), model)
    rows = np.random.default_rng(0).standard_normal((16, 4)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=rows)
    words = [model, "--pass", "filter-magnitude", "--target", "removed=1", "--data", tmp_path / "data.npz", "-o", out]
    patience = sleepy(monkeypatch, 1.02, 1.04)
    before = sorted(tmp_path.iterdir())
    assert command(monkeypatch, *words, "--plan-out", plan_out) == 4
    said = capsys.readouterr().err
    assert "slower than the original" in said
    assert "next: " in said
    assert sorted(tmp_path.iterdir()) == before
    assert command(monkeypatch, *words, "--allow-slower") == 0
    assert out.is_file()
    assert patience == [10.0, 0.0]
    out.unlink()
    assert command(monkeypatch, *words, "--no-bench") == 0
    out.unlink()
    assert command(monkeypatch, *words, "--dry-run", "--plan-out", plan_out) == 0
    assert len(patience) == 2
    assert command(monkeypatch, "apply", model, plan_out, "--data", tmp_path / "data.npz", "-o", out) == 4
    assert not out.exists()


def test_the_api_refuses_too(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(0).standard_normal((16, 4)).astype(np.float32)
    sleepy(monkeypatch, 0.98, 1.04)
    with pytest.raises(NotFaster):
        graphprune.prune(residual_mlp(4), ["filter-magnitude"], rows, "removed=1")
    allowed = RunOptions(timing=TimingOptions(allow_slower=True))
    assert graphprune.prune(residual_mlp(4), ["filter-magnitude"], rows, "removed=1", options=allowed).measurement


def test_no_widths_are_measured_for_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """That takes two seconds, and blocks have no widths that could be odd."""
    asked: list[object] = []

    def noted(options: RuntimeOptions, folder: Path | None) -> int:
        asked.append(options)
        return 8

    monkeypatch.setattr(verdict, "multiple_for", noted)
    with pytest.raises(NotFaster):
        judge(timed(1.0, 1.1), plan(blocks=1))
    assert not asked
    with pytest.raises(NotFaster):
        judge(timed(1.0, 1.1), plan(units("wide", 64, 61)))
    assert len(asked) == 1
