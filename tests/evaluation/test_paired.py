"""Intervals that cover, and p-values counted by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import binomtest

from graphprune.evaluation import paired

RANDOM = np.random.default_rng(0)


def test_mcnemar_is_the_sign_test() -> None:
    assert paired.mcnemar(0, 5) == pytest.approx(2 / 32)
    assert paired.mcnemar(1, 5) == pytest.approx(2 * (1 + 6) / 64)
    assert paired.mcnemar(3, 3) == 1.0
    assert paired.mcnemar(0, 0) == 1.0
    for lost, gained in itertools.product(range(12), repeat=2):
        if lost + gained:  # SciPy takes no experiment without samples
            assert paired.mcnemar(lost, gained) == pytest.approx(binomtest(lost, lost + gained).pvalue, rel=1e-12)


def test_difference_of_decisions_by_hand() -> None:
    first = np.array([True] * 6 + [False] * 4)
    second = np.array([True] * 2 + [False] * 7 + [True])
    found = paired.difference(first, second)
    assert found.value == pytest.approx(-0.3)  # four lost, one gained, of ten
    assert found.standard_error == pytest.approx(np.sqrt((0.5 - 0.09) / 10))
    assert found.p_value == pytest.approx(2 * (1 + 5) / 32)
    # Half a sample more in each cell: 4.5 lost, 1.5 gained, of 12.
    reach = 1.959964 * np.sqrt((6 / 12 - 0.25**2) / 12)
    assert (found.low, found.high) == pytest.approx((-0.25 - reach, -0.25 + reach), abs=1e-6)
    gaps = second.astype(float) - first
    assert found.standard_error == pytest.approx(gaps.std() / np.sqrt(10))


def test_no_change_in_few_samples_is_not_certainty() -> None:
    right = np.ones(30, bool)
    found = paired.difference(right, right)
    assert found.value == 0
    assert found.low < -0.02 < 0.02 < found.high
    assert not found.is_different


@pytest.mark.parametrize(("samples", "lost", "gained"), [(60, 0.03, 0.01), (500, 0.1, 0.05), (500, 0.08, 0.08)])
def test_interval_covers_the_truth_nineteen_times_in_twenty(samples: int, lost: float, gained: float) -> None:
    covered = 0
    for _ in range(1_000):
        draw = RANDOM.random(samples)
        first, second = draw < 0.5 + lost, (draw >= lost) & (draw < 0.5 + lost + gained)
        found = paired.difference(first, second)
        covered += found.low <= gained - lost <= found.high
    assert 930 <= covered <= 995


def test_mean_of_shares_has_the_interval_of_a_mean() -> None:
    first, second = RANDOM.random(400), RANDOM.random(400)
    found = paired.difference(first, second)
    assert found.value == pytest.approx((second - first).mean())
    assert found.standard_error == pytest.approx((second - first).std(ddof=1) / 20)
    assert found.p_value is None
    assert found.high - found.low == pytest.approx(2 * 1.96 * found.standard_error, rel=1e-4)


def test_bootstrap_of_means_is_the_standard_error_of_means() -> None:
    columns = np.stack([RANDOM.normal(0, 1, 300), RANDOM.normal(0.5, 2, 300)], 1)
    columns[:, 1] += columns[:, 0]  # paired: the gap is less spread than the second figure
    values, gaps = paired.resampled(lambda rows: columns[rows].mean(0), 300, seed=0)
    for value, column in zip(values, columns.T, strict=True):
        assert value.value == pytest.approx(column.mean())
        assert value.standard_error == pytest.approx(column.std() / np.sqrt(300), rel=0.1)
    assert gaps[0].standard_error == pytest.approx((columns[:, 1] - columns[:, 0]).std() / np.sqrt(300), rel=0.1)
    assert gaps[0].value == pytest.approx((columns[:, 1] - columns[:, 0]).mean())
