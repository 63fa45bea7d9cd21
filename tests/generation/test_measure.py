"""Generations of two decoders in turn: what runs when, and what comes of made-up times."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from graphprune.generation.decoder import Generated
from graphprune.generation.measure import measure_point, require_context
from graphprune.generation.points import GenerationPoint


@dataclass
class Fake:
    """A decoder that takes ``first_ms`` and then ``token_ms`` each; it writes down who generates how much."""

    name: str
    calls: list[tuple[str, int, int]]
    first_ms: float = 10.0
    token_ms: float = 2.0
    vocabulary: int = 40
    seen: list[np.ndarray] = field(default_factory=list)

    def generate(self, ids: np.ndarray, new: int) -> Generated:
        self.calls.append((self.name, ids.shape[1], new))
        self.seen.append(ids)
        step_ms = np.array([self.first_ms, *[self.token_ms] * (new - 1)])
        return Generated(np.zeros((len(ids), new), np.int64), step_ms)


def test_warm_ups_are_short_and_the_order_alternates() -> None:
    calls: list[tuple[str, int, int]] = []
    result = measure_point(Fake("a", calls), Fake("b", calls), GenerationPoint(16, 32), min_seconds=0.0)
    assert calls[:4] == [("a", 16, 8), ("b", 16, 8), ("a", 16, 8), ("b", 16, 8)]
    assert [name for name, _, new in calls[4:10] if new == 32] == ["a", "b", "b", "a", "a", "b"]
    assert result.wall.pairs == 10
    assert len(calls) == 4 + 20


def test_times_are_those_of_the_first_token_of_each_other_one_and_of_all() -> None:
    first, second = Fake("a", []), Fake("b", [], first_ms=12.0, token_ms=1.0)
    result = measure_point(first, second, GenerationPoint(4, 11), batch=3, min_seconds=0.0)
    assert (result.first_token.first.median_ms, result.first_token.second.median_ms) == (10.0, 12.0)
    assert result.first_token.ratio_low > 1
    assert (result.per_token.first.median_ms, result.per_token.ratio) == (2.0, 0.5)
    assert (result.wall.first.median_ms, result.wall.second.median_ms) == (30.0, 22.0)
    assert result.tokens_per_s == (1500.0, 3000.0)
    assert result.wall.histogram is None


def test_prompts_are_the_same_for_both_without_padding_and_below_the_smaller_vocabulary() -> None:
    first, second = Fake("a", []), Fake("b", [], vocabulary=6)
    measure_point(first, second, GenerationPoint(50, 2), batch=2, seed=7, min_seconds=0.0)
    assert first.seen[0].shape == (2, 50)
    assert set(np.unique(first.seen[0])) == {3, 4, 5}
    assert all(np.array_equal(first.seen[0], each) for each in (*first.seen, *second.seen))
    again = Fake("a", [])
    measure_point(again, Fake("b", []), GenerationPoint(50, 2), batch=2, seed=8, min_seconds=0.0)
    assert not np.array_equal(again.seen[0], first.seen[0])


def test_progress_counts_generations() -> None:
    told: list[tuple[str, int, int]] = []
    measure_point(
        Fake("a", []), Fake("b", []), GenerationPoint(4, 9), min_seconds=0.0, progress=lambda *told_: told.append(told_)
    )
    assert told[-1] == ("generating: prompt 4, 9 new", 20, 20)


def test_the_longest_point_is_tried_before_anything_is_timed() -> None:
    decoder = Fake("a", [])
    require_context(decoder, (GenerationPoint(16, 256), GenerationPoint(512, 128)), 1)
    assert decoder.calls == [("a", 639, 1)]
    assert decoder.seen[0].min() >= 3  # a prompt of padding alone ends onnxruntime-genai with a segmentation fault


def test_slow_decoders_stop_after_five(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphprune.generation.measure._PATIENCE_SECONDS", 0.0)
    assert measure_point(Fake("a", []), Fake("b", []), GenerationPoint(4, 9), min_seconds=0.0).wall.pairs == 5
