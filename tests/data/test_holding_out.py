"""Samples held out of the calibration data: none in both parts, none lost."""

from __future__ import annotations

import numpy as np
import pytest

from graphprune.data.dataset import Data, load_data
from graphprune.data.holding_out import HoldOut
from graphprune.ir.loading import load
from tests.graphs import residual_mlp


def _numbers(data: Data) -> list[int]:
    return [int(x) for batch in data.batches(32) for x in batch.feeds["x"][:, 0]]


def _source(count: int, limit: int | None) -> Data:
    rows = np.repeat(np.arange(count, dtype=np.float32)[:, None], 4, axis=1)
    return load_data({"x": rows, "labels": np.arange(count)}, load(residual_mlp(1)), limit)


@pytest.mark.parametrize("count", [5, 40, 700])
@pytest.mark.parametrize("taken", [None, 16, 512])
def test_the_parts_are_disjoint_and_complete(count: int, taken: int | None) -> None:
    rule = HoldOut(taken)
    source = _source(count, rule.read)
    first, second = _numbers(rule.calibrating(source)), _numbers(rule.held_out(source))
    assert sorted(first + second) == list(range(count))
    assert len(first) == min(count - count // 5, taken or count)
    assert all(number % 5 != 4 for number in first)


def test_labels_stay_with_their_samples() -> None:
    for batch in HoldOut(8).held_out(_source(40, None)).batches(7):
        assert batch.labels is not None
        assert batch.labels.tolist() == batch.feeds["x"][:, 0].tolist()


def test_no_more_is_read_than_both_parts_need() -> None:
    rule = HoldOut(100)
    assert rule.read is not None
    source = _source(10_000, rule.read)
    assert len(_numbers(rule.held_out(source))) == 2_000
    assert len(_numbers(source)) == 2_125
