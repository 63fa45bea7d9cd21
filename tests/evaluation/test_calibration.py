"""Calibration against cases counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from graphprune.evaluation import calibration

RANDOM = np.random.default_rng(0)


def test_error_of_five_samples_counted_by_hand() -> None:
    # Five bins. (0.2, 0.4]: 0.4 right. (0.4, 0.6]: 0.5 wrong, 0.6 right. (0.8, 1]: 0.9 right, 1.0 wrong.
    sure, right = np.array([0.4, 0.5, 0.6, 0.9, 1.0]), np.array([1.0, 0.0, 1.0, 1.0, 0.0])
    by_hand = 1 / 5 * 0.6 + 2 / 5 * abs(0.5 - 0.55) + 2 / 5 * abs(0.5 - 0.95)
    assert calibration.calibration_error(sure, right, bins=5) == pytest.approx(by_hand)


def test_adaptive_error_of_four_samples_counted_by_hand() -> None:
    sure, right = np.array([0.9, 0.5, 0.6, 0.8]), np.array([1.0, 1.0, 0.0, 0.0])
    by_hand = 0.5 * abs(0.5 - 0.55) + 0.5 * abs(0.5 - 0.85)  # 0.5 and 0.6, then 0.8 and 0.9
    assert calibration.adaptive_calibration_error(sure, right, bins=2) == pytest.approx(by_hand)


@pytest.mark.parametrize("measure", [calibration.calibration_error, calibration.adaptive_calibration_error])
def test_right_as_often_as_sure_is_no_error_and_overconfidence_is_its_size(measure: calibration.Measure) -> None:
    sure = RANDOM.uniform(0.3, 0.8, 200_000)
    right = (RANDOM.random(len(sure)) < sure).astype(float)
    assert measure(sure, right) < 0.01
    assert measure(sure + 0.15, right) == pytest.approx(0.15, abs=0.01)


def test_brier_and_likelihood_by_hand() -> None:
    shares, labels = np.array([[0.7, 0.2, 0.1], [0.0, 1.0, 0.0]]), np.array([0, 2])
    assert calibration.brier(shares, labels) == pytest.approx([0.3**2 + 0.2**2 + 0.1**2, 2.0])
    assert calibration.negative_log_likelihood(shares, labels) == pytest.approx([-np.log(0.7), -np.log(1e-12)])


def test_logits_become_shares_and_shares_stay() -> None:
    logits = np.array([[0.0, np.log(3.0)], [1000.0, 0.0]], np.float32)
    shares = calibration.probabilities(logits)
    assert shares == pytest.approx(np.array([[0.25, 0.75], [1.0, 0.0]]))
    assert np.array_equal(calibration.probabilities(shares), shares)
    assert not calibration.are_probabilities(np.array([[0.5, 0.6]]))
