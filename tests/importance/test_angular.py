"""Distances between directions, and their streamed mean."""

from __future__ import annotations

import numpy as np
import pytest

from graphprune.importance.angular import Measure, turn
from graphprune.importance.row_mean import StreamedMean


@pytest.mark.parametrize(
    ("measure", "expected"), [("cosine", [0, 1, 2, 1 - 0.5**0.5, 0, 1]), ("angle", [0, 0.5, 1, 0.25, 0, 0.5])]
)
def test_known_angles(measure: Measure, expected: list[float]) -> None:
    entries = np.array([[1, 2], [1, 0], [3, 1], [0, 1], [0, 0], [0, 0]], np.float32)
    exits = np.array([[2, 4], [0, 5], [-6, -2], [1, 1], [0, 0], [1, 0]], np.float32)
    assert turn(entries, exits, measure) == pytest.approx(expected, abs=1e-7)


def test_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = np.random.default_rng(0).standard_normal((2, 50, 8)).astype(np.float32)
    whole = turn(one, other, "angle")
    monkeypatch.setattr("graphprune.importance.angular._CHUNK", 24)
    assert np.array_equal(turn(one, other, "angle"), whole)


def test_the_mean_is_over_rows_and_its_error_over_samples() -> None:
    """Samples of different length; rows of a sample that are all alike add nothing to what is known."""
    random = np.random.default_rng(1)
    counts = np.array([3, 1, 5, 2, 4])
    own = random.random(5)
    values, samples = np.repeat(own, counts), np.repeat(np.arange(5), counts)
    values += random.standard_normal(len(values)) / 100
    mean = StreamedMean()
    mean.update(values[samples < 3], samples[samples < 3])
    mean.update(values[samples >= 3], samples[samples >= 3])  # the numbers need not begin with 0
    whole = values.mean()
    residuals = [np.sum(values[samples == sample] - whole) for sample in range(5)]
    assert mean.result() == pytest.approx((whole, np.sqrt(np.sum(np.square(residuals))) / len(values)))


def test_nothing_has_no_mean() -> None:
    assert np.isnan(StreamedMean().result()).all()
