"""The streamed distance equals its definition, however the rows come in batches."""

from __future__ import annotations

import numpy as np
import pytest

from graphprune.importance.distance import StreamedDistance

RANDOM = np.random.default_rng(2)
X = (RANDOM.standard_normal((37, 5)) + 3).astype(np.float32)
Y = [(X + scale * RANDOM.standard_normal(X.shape)).astype(np.float32) for scale in (0.1, 1.0)]


def streamed(batch: int, rows: int = 37) -> StreamedDistance:
    stream = StreamedDistance()
    for start in range(0, rows, batch):
        part = slice(start, min(rows, start + batch))
        stream.reference(X[part])
        for index, candidate in enumerate(Y):
            stream.candidate(index, candidate[part])
    return stream


@pytest.mark.parametrize("batch", [1, 4, 5, 37])
def test_definition(batch: int) -> None:
    stream = streamed(batch)
    variance = X.astype(np.float64).var(0).sum()
    for index, candidate in enumerate(Y):
        apart = np.sum((candidate.astype(np.float64) - X) ** 2, axis=1)
        halves = [apart[half::2].mean() / variance for half in (0, 1)]
        assert stream.result(index) == pytest.approx(
            (apart.mean() / variance, abs(halves[0] - halves[1]) / 2), rel=1e-9
        )
    assert stream.is_informative
    assert stream.rows == 37


def test_zero_for_the_same_and_one_for_the_mean() -> None:
    stream = StreamedDistance()
    stream.reference(X)
    stream.candidate(0, X)
    stream.candidate(1, np.broadcast_to(X.mean(0, dtype=np.float64), X.shape))
    assert stream.result(0) == (0, 0)
    assert stream.result(1)[0] == pytest.approx(1, rel=1e-6)


def test_one_row_divides_by_nothing() -> None:
    stream = streamed(1, rows=1)
    assert not stream.is_informative
    assert np.isfinite(stream.result(0)).all()


@pytest.mark.parametrize("value", [0.0, 0.1, np.nan, np.inf])
def test_nothing_can_be_told_from_a_constant(value: float) -> None:
    stream = StreamedDistance()
    assert not stream.is_informative
    with np.errstate(invalid="ignore"):
        stream.reference(np.full((8, 3), value, np.float32))
        assert not stream.is_informative
