"""Scores of a fold, and their mean over folds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from graphprune.errors import DataError
from graphprune.protocols import fold_scores, over_folds


def test_scores_of_a_fold_by_hand() -> None:
    """A class met in the answers alone counts, one met nowhere does not."""
    truth, predicted = np.array([0, 0, 0, 1, 1, 5]), np.array([0, 0, 1, 1, 1, 4])
    found = fold_scores(truth, predicted)
    assert found.accuracy == pytest.approx(4 / 6)
    assert found.recall == pytest.approx((2 / 3 + 1 + 0 + 0) / 4)
    assert found.f1 == pytest.approx((0.8 + 0.8 + 0 + 0) / 4)


def test_interval_of_students_t() -> None:
    """The quantile of 9 degrees of freedom at 95 % is 1.833 in any table."""
    values = [0.5, 0.6] * 5
    found = over_folds(values)
    assert found.mean == pytest.approx(0.55)
    assert found.half_width == pytest.approx(1.833 * np.std(values, ddof=1) / math.sqrt(10), rel=1e-3)
    assert over_folds(values, 0.99).half_width > found.half_width
    assert math.isnan(over_folds([0.5]).half_width)


def test_refuses() -> None:
    with pytest.raises(DataError, match="do not go together"):
        fold_scores(np.zeros(3), np.zeros(2))
    with pytest.raises(DataError, match="no folds"):
        over_folds([])
