"""Latency targets from end to end: a made-up clock where a number is checked, the real one once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import graphprune
from graphprune import RunOptions
from graphprune.errors import NothingToPrune, OptionError, TargetNotReached
from graphprune.latency.closing import TOLERANCE
from graphprune.plan.target import Target
from graphprune.report.result import Result
from tests.command import command
from tests.graphs import residual_mlp
from tests.latency.made_up import OPTIONS, FakeClock
from tests.pass_infra.test_savings import uneven


def decided(passes: Sequence[str], target: str, options: RunOptions = OPTIONS) -> Result:
    rows = np.random.default_rng(0).standard_normal((32, 4)).astype(np.float32)
    return graphprune.prune(wide(), passes, rows, target, dry_run=True, options=options)


def wide() -> onnx.ModelProto:
    """Six residual blocks with 64 neurons each."""
    return residual_mlp(6, 32)


@pytest.mark.parametrize("spec", ["filter-magnitude", "filter-magnitude{scope=group}", "neuron-projection"])
@pytest.mark.parametrize("target", ["latency=0.9", "latency=0.7", "latency=0.5", "latency=6ms"])
def test_units_reach_the_time_within_three_per_cent(spec: str, target: str, clock: list[FakeClock]) -> None:
    result = decided([spec], target)
    asked = Target.parse(target).value
    assert result.plan.asked == target
    assert abs(result.plan.reached / asked - 1) <= TOLERANCE
    assert result.plan.units
    assert len(clock[-1].readings) <= 10


def test_blocks_go_in_their_order_and_coarse_steps_are_said(clock: list[FakeClock]) -> None:
    """Six equal blocks: 0.7 lies between two of them; nothing is closer, and the note says what is."""
    result = decided(["layer-cka"], "latency=0.7")
    whole = decided(["layer-cka"], "removed=4").plan.blocks
    gone = result.plan.blocks
    assert [block.join for block in gone] == [block.join for block in whole[: len(gone)]]
    assert 0.5 < result.plan.reached <= 0.7 * (1 + TOLERANCE)
    if abs(result.plan.reached / 0.7 - 1) > TOLERANCE:
        note = next(note for note in result.notes if "nearest" in note)
        assert f"latency={result.plan.reached:.3g}" in note


def test_the_last_pass_closes_the_gap_that_blocks_leave(clock: list[FakeClock]) -> None:
    alone = decided(["layer-cka"], "latency=0.75").plan
    both = decided(["layer-cka", "filter-magnitude"], "latency=0.75").plan
    assert abs(both.reached / 0.75 - 1) <= TOLERANCE
    assert abs(alone.reached / 0.75 - 1) > TOLERANCE  # else this shows nothing
    assert len(both.decisions[0].blocks) == len(alone.blocks) - 1
    assert both.units


@pytest.mark.parametrize("target", ["latency=0.7", "latency=5ms"])
def test_a_pass_in_steps_is_stopped_by_the_clock(target: str, clock: list[FakeClock]) -> None:
    """Blocks against neurons, a block's worth at a time: the first step that meets the time is the last."""
    whole = decided(["joint-cka"], "flops=0.1").plan.trajectory
    plan = (result := decided(["joint-cka"], target)).plan
    assert [step.removed for step in plan.trajectory] == [step.removed for step in whole[: len(plan.trajectory)]]
    asked = Target.parse(target).value
    assert 0 < plan.reached <= asked * (1 + TOLERANCE)
    assert len(readings := clock[-1].readings) == len(plan.trajectory)
    assert min(readings[:-1]) > asked * (1 + TOLERANCE)
    told = [note for note in result.notes if "do not come within 3 %" in note]
    assert bool(told) == (plan.reached < asked * (1 - TOLERANCE))


def test_a_pass_in_steps_says_how_far_it_came(clock: list[FakeClock]) -> None:
    with pytest.raises(TargetNotReached, match=r"at most latency=0\.\d+, where joint-cka.* ends"):
        decided(["joint-cka{floor=5,exclude_groups=*}"], "latency=0.05")


@pytest.mark.parametrize("spec", ["filter-magnitude{floor=0.5}", "filter-magnitude{ratio=0.05}", "layer-cka{floor=3}"])
def test_out_of_reach_names_the_best_figure_and_the_rules(spec: str, clock: list[FakeClock]) -> None:
    with pytest.raises(
        TargetNotReached, match=r"the target latency=0\.05 cannot be reached: at most latency=0\.\d+"
    ) as caught:
        decided([spec], "latency=0.05")
    assert "gone" in caught.value.message


def test_ratio_caps_what_may_go(clock: list[FakeClock]) -> None:
    result = decided(["filter-magnitude{ratio=0.4}"], "latency=0.85")
    assert sum(len(units.removed) for units in result.plan.units) <= 0.4 * 6 * 64
    assert abs(result.plan.reached / 0.85 - 1) <= TOLERANCE


def test_what_cannot_be_asked(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="only a timing tells"):
        untimed = replace(OPTIONS, timing=replace(OPTIONS.timing, measure_latency=False))
        decided(["filter-magnitude"], "latency=0.5", untimed)
    with pytest.raises(NothingToPrune, match="already, the target is 1000 ms"):
        decided(["filter-magnitude"], "latency=1000ms")


@pytest.mark.slow
def test_real_clock_cache_and_command(
    shipped: Path,
    calibration: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whatever this machine's noise makes of it: the plan and the result tell of one measurement,
    and times are kept.
    """
    out, report, cache = tmp_path / "small.onnx", tmp_path / "r.json", tmp_path / "cache"
    words = [shipped, "--pass", "filter-magnitude{include=re:stages.2}", "--data", calibration, "--num-samples", 32]
    words += ["--target", "latency=0.95", "--duration", 0.1, "--threads", 1, "--repair", "none", "--allow-slower"]
    code = command(monkeypatch, *words, "-o", out, "--json", report, "--cache-dir", cache)
    assert len(list((cache / "latency").iterdir())) == 2  # of the network, and of the widths the runtime likes
    if code == TargetNotReached.exit_code:
        assert "at most latency=" in capsys.readouterr().err
        assert not out.exists()
        return
    assert code == 0
    told: Mapping[str, Any] = json.loads(report.read_text())
    assert told["asked"] == "latency=0.95"
    assert told["reached"] == told["plan"]["reached"] == told["measurement"]["comparison"]["ratio"]
    assert told["after"]["macs"] < told["before"]["macs"]


def test_blocks_go_by_what_they_lose_per_millisecond(clock: list[FakeClock]) -> None:
    """Equal blocks save equal times: the order stays; where one is much larger than the others, it goes early."""
    plain, weighed = (decided([spec], "latency=0.7").plan.blocks for spec in ("layer-cka", "layer-cka{per=ms}"))
    assert [block.join for block in plain] == [block.join for block in weighed]
    rows = np.random.default_rng(0).standard_normal((32, 4)).astype(np.float32)
    (first, *_) = graphprune.prune(
        uneven(), "layer-cka{per=ms,floor=0,skip_first=false}", rows, "latency=0.9", dry_run=True, options=OPTIONS
    ).plan.blocks
    assert first.name == "join1"
