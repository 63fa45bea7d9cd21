"""What a network loses, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest

from graphprune.data.dataset import load_data
from graphprune.errors import OptionError
from graphprune.evaluation import drop
from graphprune.evaluation.accuracy import Judging, evaluate, judged
from graphprune.evaluation.language import TextScores
from graphprune.evaluation.metric import Batches
from graphprune.ir.loading import load
from graphprune.plan.max_drop import Drop
from graphprune.runtime.known_answers import KnownAnswers
from graphprune.runtime.sessions import RuntimeOptions
from tests.graphs import Arrays, initialisers, residual_mlp

ROWS = np.random.default_rng(0).standard_normal((200, 4)).astype(np.float32)


def _nudged(amount: float) -> onnx.ModelProto:
    proto = residual_mlp(2)
    weight = next(tensor for tensor in proto.graph.initializer if tensor.name == "w_head")
    array = initialisers(proto)["w_head"]
    noise = np.random.default_rng(1).standard_normal(array.shape).astype(np.float32)
    weight.CopyFrom(onnx.numpy_helper.from_array(array + amount * noise, "w_head"))
    return proto


def _judged(amount: float, arrays: Arrays, metric: Any = None) -> Drop:
    proto = residual_mlp(2)
    data = load_data(arrays, load(proto))
    judging = Judging(proto, None, data, 32, RuntimeOptions(threads=1), metric)
    evaluation, found = judged(_nudged(amount), judging)
    assert evaluation.drop == found
    plain = evaluate(_nudged(amount), judging)  # a metric would have to be measured again, and errors kept
    assert plain.drop == (None if plain.kind in ("metric", "error") else found)
    assert replace(evaluation, drop=None) == replace(plain, drop=None)
    again = replace(judging, known=KnownAnswers())
    assert all(judged(_nudged(amount), again) == (evaluation, found) for _ in range(2))
    return found


def test_points_of_top1_are_paired() -> None:
    before, after = np.array([True] * 90 + [False] * 10), np.array([True] * 85 + [False] * 13 + [True] * 2)
    found = drop.of_answers(before, after)
    assert found.value == pytest.approx(0.03)
    assert found.low is not None and found.high is not None
    assert found.low < 0.03 < found.high < 0.1


def test_labels_and_class_scores_are_told_apart() -> None:
    labels = np.random.default_rng(2).integers(0, 3, len(ROWS))
    assert _judged(0.3, {"x": ROWS, "labels": labels}).kind == "top1"
    found = _judged(0.3, {"x": ROWS})
    assert (found.kind, found.samples) == ("agreement", 200)
    assert 0 < found.value < 0.6
    same = _judged(0.0, {"x": ROWS})
    assert (same.value, same.low) == (0.0, 0.0)
    assert same.high is not None and 0 < same.high < 0.02  # 200 samples cannot show that nothing is lost


def test_an_error_has_the_interval_of_a_bootstrap() -> None:
    generator = np.random.default_rng(0)
    norms = generator.uniform(1, 3, 400)
    gaps = norms * generator.uniform(0, 0.02, 400)
    value = float(np.sqrt(gaps.sum() / norms.sum()))
    found = drop.of_errors(value, gaps, norms, 400)
    picks = generator.integers(0, 400, (2000, 400))
    spread = np.sqrt(gaps[picks].sum(1) / norms[picks].sum(1)).std()
    assert found.high is not None
    assert found.high - found.value == pytest.approx(1.96 * spread, rel=0.1)
    assert drop.of_errors(value * 1.1, gaps, norms, 400).high is None  # those of another output


def test_perplexity_rises_by_a_share() -> None:
    first, second = TextScores(), TextScores()
    for chunk in range(20):
        first.tokens.append(100)
        second.tokens.append(100)
        first.losses.append(300.0 + chunk)
        second.losses.append(302.0 + chunk + 0.1 * (chunk % 3))
    found = drop.of_text(first, second)
    assert found.value == pytest.approx(np.exp(0.021) - 1, abs=2e-4)
    assert found.low is not None and found.high is not None
    assert 0.02 < found.low < found.value < found.high < 0.022  # the chunks differ far more than the networks


def _mean_output(batches: Batches) -> float:
    return 10 + float(np.mean([outputs["y"].mean() for outputs, _ in batches]))


def test_a_metric_has_an_interval_over_parts_of_the_samples() -> None:
    found = _judged(0.3, {"x": ROWS}, _mean_output)
    assert found.kind == "metric"
    assert found.low is not None and found.high is not None
    assert found.low < found.value < found.high

    def lower(batches: Batches) -> float:
        return _mean_output(batches)

    lower.lower_is_better = True  # type: ignore[attr-defined]
    assert _judged(0.3, {"x": ROWS}, lower).value == pytest.approx(-found.value)


def test_a_metric_that_fails_on_a_part_has_no_interval() -> None:
    def whole(batches: Iterator[tuple[Arrays, Arrays]]) -> float:
        assert sum(len(outputs["y"]) for outputs, _ in batches) == 200
        return 1.0

    found = _judged(0.3, {"x": ROWS}, whole)
    assert (found.value, found.low, found.high) == (0.0, None, None)


def test_no_share_of_nothing_is_lost() -> None:
    with pytest.raises(OptionError, match="the original is 0"):
        _judged(0.3, {"x": ROWS}, lambda batches: 0.0 * len(list(batches)))
