"""The losses against closed forms and against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from graphprune.errors import DataError  # noqa: E402 - torch may be missing
from graphprune.ir.loading import load  # noqa: E402
from graphprune.training.objective import Objective, check_labels, hits, objective_for, relative_error  # noqa: E402
from graphprune.training.options import TrainOptions  # noqa: E402
from tests.graphs import build  # noqa: E402
from tests.training.parts import model  # noqa: E402

SCORES = torch.tensor(np.random.default_rng(0).standard_normal((6, 5)), dtype=torch.float32)
WANTED = torch.tensor(np.random.default_rng(1).standard_normal((6, 5)), dtype=torch.float32)
LABELS = torch.tensor([0, 1, 2, 3, 4, 0])


def objective(**changes: Any) -> Objective:
    settings: dict[str, Any] = {
        "match": "kl",
        "is_probability": False,
        "label_weight": 1.0,
        "distil_weight": 1.0,
        "temperature": 2.0,
    }
    return Objective(**(settings | changes))


def softmax(scores: np.ndarray, axis: int = 1) -> np.ndarray:
    shifted = np.exp(scores - scores.max(axis, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis, keepdims=True))


def test_cross_entropy_and_divergence_are_those_of_the_formulas() -> None:
    scores, wanted = SCORES.numpy().astype(np.float64), WANTED.numpy().astype(np.float64)
    entropy = -np.log(softmax(scores)[np.arange(6), LABELS.numpy()]).mean()
    p, q = softmax(wanted / 2), softmax(scores / 2)
    divergence = 4 * (p * np.log(p / q)).sum(1).mean()
    assert float(objective(distil_weight=0)([SCORES], [WANTED], LABELS)) == pytest.approx(entropy, rel=1e-5)
    assert float(objective()([SCORES], [WANTED], None)) == pytest.approx(divergence, rel=1e-5)
    both = objective(label_weight=0.5, distil_weight=2)([SCORES], [WANTED], LABELS)
    assert float(both) == pytest.approx(0.5 * entropy + 2 * divergence, rel=1e-5)


def test_the_same_outputs_are_at_distance_zero() -> None:
    for match in ("kl", "mse"):
        assert float(objective(match=match)([SCORES], [SCORES.clone()], None)) == pytest.approx(0, abs=1e-6)


def test_probabilities_count_as_the_scores_they_came_from() -> None:
    given, wanted = SCORES.softmax(1), WANTED.softmax(1)
    plain = objective()([SCORES], [WANTED], LABELS)
    assert float(objective(is_probability=True)([given], [wanted], LABELS)) == pytest.approx(float(plain), rel=1e-4)


def test_sequences_and_maps_compare_position_by_position() -> None:
    tokens = SCORES.reshape(2, 3, 5), WANTED.reshape(2, 3, 5)
    maps = [each.reshape(2, 3, 1, 5).permute(0, 3, 1, 2) for each in tokens]
    plain = float(objective()([SCORES], [WANTED], None))
    assert float(objective()([tokens[0]], [tokens[1]], None)) == pytest.approx(plain, rel=1e-5)
    assert float(objective()([maps[0]], [maps[1]], None)) == pytest.approx(plain, rel=1e-5)


def test_relative_error_of_the_mean_is_one() -> None:
    mean = WANTED.mean().expand_as(WANTED)
    assert float(relative_error(mean, WANTED)) == pytest.approx(1, rel=1e-5)
    assert float(relative_error(100 * mean, 100 * WANTED)) == pytest.approx(1, rel=1e-5)
    assert np.isfinite(float(relative_error(torch.ones(3), torch.ones(3))))


def test_other_outputs_count_without_labels_only() -> None:
    given, wanted = [SCORES, SCORES, LABELS], [WANTED, WANTED, LABELS]
    first = float(objective()(given[:1], wanted[:1], None))
    assert float(objective()(given, wanted, None)) == pytest.approx(
        first + float(relative_error(SCORES, WANTED)), rel=1e-5
    )
    labelled = float(objective()(given[:1], wanted[:1], LABELS))
    assert float(objective()(given, wanted, LABELS)) == pytest.approx(labelled, rel=1e-6)
    narrower = [SCORES, SCORES[:, :3], LABELS]  # a key-value cache with fewer heads
    assert float(objective()(narrower, wanted, None)) == pytest.approx(first, rel=1e-6)


def test_wrong_labels_and_shapes_are_refused() -> None:
    with pytest.raises(DataError, match="the labels run from 0 to 7, but the model has 5 classes"):
        check_labels(SCORES, 0, 7)
    with pytest.raises(DataError, match=r"labels need class scores .* the first output is \[2, 3, 5\]"):
        check_labels(SCORES.reshape(2, 3, 5), 0, 1)
    with pytest.raises(DataError, match=r"the first output is \[6, 5\], the unpruned network's \[6, 4\]"):
        objective()([SCORES], [WANTED[:, :4]], None)


def test_hits() -> None:
    scores = torch.eye(4)
    assert hits(scores, torch.tensor([0, 1, 0, 0])) == (2, 4)
    assert hits(scores, scores.flip(0)) == (0, 4)
    maps = torch.zeros(1, 2, 3, 3)
    assert hits(maps, maps) == (9, 9)


def test_what_the_first_output_is() -> None:
    plain = TrainOptions()
    assert objective_for(model(), plain, False).match == "kl"
    features = load(build("(float[N,4] x) => (float[N,4] y) { y = Relu(x) }"))
    assert objective_for(features, plain, False).match == "mse"
    assert objective_for(features, plain, True).match == "kl"
    assert objective_for(features, TrainOptions(match="kl"), False).match == "kl"
    ended = load(build("(float[N,4] x) => (float[N,4] y) { y = Softmax(x) }"))
    assert objective_for(ended, plain, False).is_probability
