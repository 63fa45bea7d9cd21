"""Targets of generation: which phase is timed, at which point, and that a cut is found for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import graphprune
from graphprune.errors import NothingToPrune, OptionError, TargetNotReached
from graphprune.generation.measure import GenerationMeasurement, PointMeasurement
from graphprune.generation.pruned import original_decoder
from graphprune.ir.loading import load
from graphprune.latency import phases
from graphprune.latency import search as search_room
from graphprune.latency.clock import settled
from graphprune.latency.closing import TOLERANCE
from graphprune.latency.phases import phase_time, phase_timer
from graphprune.measure.timing import Comparison, Latency
from graphprune.plan.plan import Plan
from graphprune.plan.target import Target
from graphprune.report.result import Result
from graphprune.run.loaded import LoadedRun
from graphprune.run.notes import texts_of
from tests.decoder_graphs import Sizes, plain_decoder
from tests.graphs import residual_mlp
from tests.latency.made_up import OPTIONS, FakeClock

SIZES = Sizes(layers=2, neurons=96)


@pytest.fixture
def clock(clock: list[FakeClock], monkeypatch: pytest.MonkeyPatch) -> list[FakeClock]:
    """The made-up clock in place of generation, too; fed one token with a cache."""

    def made_up(target: Target, loaded: LoadedRun, *_: Any) -> FakeClock:
        fake = FakeClock(Target("latency", target.turned(target.value)), loaded)
        clock.append(fake)
        decoder = original_decoder(loaded.model, OPTIONS.runtime)
        assert decoder is not None
        fake.feeds = loaded.feeds  # type: ignore[attr-defined]
        return fake

    monkeypatch.setattr(search_room, "phase_timer", made_up)
    return clock


def decided(target: str) -> Result:
    data = {"input_ids": np.random.default_rng(0).integers(0, 40, (4, 6)), "attention_mask": np.ones((4, 6), int)}
    past = np.zeros((4, SIZES.kv_heads, 0, SIZES.depth), np.float32)
    data |= {f"past_key_values.{i}.{kind}": past for i in range(2) for kind in ("key", "value")}
    options = replace(OPTIONS, align=1)
    return graphprune.prune(plain_decoder(SIZES), "filter-magnitude", data, target, dry_run=True, options=options)


@pytest.mark.parametrize(("target", "asked"), [("tokens-per-s=1.15", 1.15), ("ttft=0.85", 0.85)])
def test_a_cut_is_found_within_three_per_cent(target: str, asked: float, clock: list[FakeClock]) -> None:
    plan = decided(target).plan
    assert plan.asked == target
    assert abs(plan.reached / asked - 1) <= 1.1 * TOLERANCE
    assert plan.units
    assert len(clock[-1].readings) <= 10


def test_what_is_out_of_reach_is_said_in_the_targets_figure(clock: list[FakeClock]) -> None:
    with pytest.raises(TargetNotReached, match=r"tokens-per-s=9 cannot be reached: at most tokens-per-s=1\.\d"):
        decided("tokens-per-s=9")


def point(prompt: int, new: int, first: float, token: float) -> PointMeasurement:
    def times(ratio: float) -> Comparison:
        one, other = (Latency(ms, ms, ms) for ms in (10.0, 10.0 * ratio))
        return Comparison(one, other, ratio, ratio, ratio, 10)

    return PointMeasurement(prompt, new, times(first), times(token), times(token), (1, 1))


@pytest.mark.parametrize(
    ("target", "timed", "ratio", "asked"),
    [("ttft=0.7", (512, 2), 0.6, 0.7), ("tokens-per-s=1.25", (16, 64), 0.75, 0.8)],
)
def test_each_target_has_its_phase_and_point(
    target: str, timed: tuple[int, int], ratio: float, asked: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []

    def made_up(first: Any, second: Any, at: Any, **_: Any) -> PointMeasurement:
        seen.append((at.prompt, at.new))
        assert first.vocabulary == second.vocabulary
        return point(at.prompt, at.new, 0.6, 0.75)

    monkeypatch.setattr(phases, "measure_point", made_up)
    model = load(plain_decoder(SIZES))
    timer = phase_timer(Target.parse(target), _loaded(model), OPTIONS)
    assert timer.asked == pytest.approx(asked)
    assert timer.dense == 1.0
    assert timer.time(model) == ratio
    assert seen == [timed]
    assert timer.feeds["input_ids"].shape == ((1, 512) if target.startswith("ttft") else (1, 1))


@pytest.mark.parametrize(
    ("target", "asked", "dense", "message"),
    [("ttft=5ms", 5, 6, "ttft=6.1ms"), ("tokens-per-s=400/s", 2.5, 3.75, "tokens-per-s=260/s")],
)
def test_a_target_with_a_unit_is_held_against_milliseconds(
    target: str, asked: float, dense: float, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two samples at once: a step of 7.5 ms gives two tokens."""
    monkeypatch.setattr(phases, "measure_point", lambda first, second, at, **_: point(at.prompt, at.new, 0.6, 0.75))
    model = load(plain_decoder(SIZES))
    options = replace(OPTIONS, timing=replace(OPTIONS.timing, batch=2))
    timer = phase_timer(Target.parse(target), _loaded(model), options)
    assert (timer.asked, timer.dense, timer.time(model)) == (asked, dense, dense)
    kind, _, figure = message.partition("=")
    with pytest.raises(NothingToPrune, match=f"reaches {kind}=.* already, the target is {message}"):
        phase_timer(Target.parse(f"{kind}={figure}"), _loaded(model), options)


def test_the_written_file_is_held_against_the_target_where_it_was_timed() -> None:
    measured = GenerationMeasurement((point(16, 64, 0.9, 0.8), point(512, 16, 0.7, 0.95)), 1, {})
    assert phase_time(Target.parse("tokens-per-s=1.3"), measured) == 0.8
    assert phase_time(Target.parse("ttft=0.7"), measured) == 0.7
    assert phase_time(Target.parse("tokens-per-s=100"), measured) == 8
    assert phase_time(Target.parse("ttft=5ms"), measured) == 7


@pytest.mark.parametrize(
    ("asked", "chosen", "ratio", "note"),
    [
        ("tokens-per-s=1.25", 1.25, 0.8, ""),
        ("tokens-per-s=1.25", 1.25, 0.88, "reaches 1.14, 9.1 % below tokens-per-s=1.25; when it was chosen it reached"),
        ("tokens-per-s=1.25", 1.1, 0.9, ""),  # said when it was chosen
        (
            "tokens-per-s=100",
            100,
            11,
            "reaches 90.9/s, 9.1 % below tokens-per-s=100/s; when it was chosen it reached",
        ),
        ("ttft=0.6", 0.6, 0.66, "reaches 0.66, 10.0 % above ttft=0.6; when it was chosen it reached 0.6"),
    ],
)
def test_the_last_word_is_in_the_targets_figure(asked: str, chosen: float, ratio: float, note: str) -> None:
    target = Target.parse(asked)
    plan = Plan(model_sha256="", decisions=(), asked=asked, reached=chosen, seed=0)
    plan, notes = settled(target, plan, ratio)
    assert plan.reached == pytest.approx(target.turned(ratio))
    assert (note in "".join(texts_of(notes))) and bool(notes) == bool(note)


def test_a_network_that_does_not_generate_is_refused() -> None:
    rows = np.zeros((4, 4), np.float32)
    with pytest.raises(OptionError, match=r"ttft=0\.7 is for decoders with a cache"):
        graphprune.prune(residual_mlp(2), "filter-magnitude", rows, "ttft=0.7", dry_run=True, options=OPTIONS)


def _loaded(model: Any) -> LoadedRun:
    class Loaded:
        pass

    loaded: Any = Loaded()
    loaded.model = model
    return loaded  # type: ignore[no-any-return]
