"""Correlations of few samples are worth less than those of many, and a loss that rests on them says so."""

from __future__ import annotations

import numpy as np
import pytest

from graphprune.importance.obs import Reader, removal_losses
from graphprune.repair.gram import HalvedSums
from graphprune.repair.ridge import refit
from graphprune.repair.shrinkage import shrunk

RANDOM = np.random.default_rng(0)
INPUTS = 40
MIXED = RANDOM.standard_normal((INPUTS, INPUTS)) / INPUTS**0.5 + np.eye(INPUTS)


def drawn(samples: int) -> np.ndarray:
    """Correlated inputs (samples, inputs)."""
    return np.asarray(RANDOM.standard_normal((samples, INPUTS)) @ MIXED)


def gram(rows: np.ndarray, positions: int = 1, *, is_centred: bool = False) -> np.ndarray:
    """Of rows (samples * positions, inputs)."""
    sums = HalvedSums(1, rows.shape[1], 0)
    sums.add(rows[:, None], np.zeros((len(rows), 1, 0)), len(rows) // positions)
    return np.asarray(shrunk(sums, is_centred=is_centred)[0])


def test_many_samples_say_what_is_so() -> None:
    rows = drawn(40_000) + 3.0
    np.testing.assert_allclose(gram(rows, is_centred=True), np.cov(rows.T, bias=True), atol=0.02)
    np.testing.assert_allclose(gram(rows), rows.T @ rows / len(rows), rtol=0.02, atol=0.02)


def test_from_fewer_samples_than_inputs_the_loss_is_about_that_on_new_samples() -> None:
    """Plain sums say next to nothing: 30 samples are explained by any 30 inputs."""
    few, weights = drawn(30), RANDOM.standard_normal((INPUTS, 8))
    losses = removal_losses([Reader(gram(few), weights, np.arange(INPUTS), INPUTS)], INPUTS)
    plain = removal_losses([Reader(few.T @ few / 30, weights, np.arange(INPUTS), INPUTS)], INPUTS)
    left = np.sort(np.argsort(losses)[10:])
    sums = HalvedSums(1, len(left), 8)
    sums.add(few[:, None, left], few[:, None] @ weights, len(few))
    fit = refit(sums, weights[None, left], np.zeros((1, 8)), with_shift=False)
    new = drawn(2000)
    lost = np.sum((new @ weights - new[:, left] @ fit.matrix[0]) ** 2) / len(new)
    assert np.sort(plain)[:10].sum() < 0.02 * lost
    assert 0.5 * lost < np.sort(losses)[:10].sum() < 2 * lost


def test_positions_of_one_sample_do_not_count_as_samples() -> None:
    rows = drawn(30)
    np.testing.assert_allclose(gram(np.repeat(rows, 5, axis=0), positions=5), gram(rows), rtol=1e-9)


def test_one_sample_says_nothing_of_correlations() -> None:
    rows = drawn(64)
    np.testing.assert_allclose(gram(rows, positions=64), np.diag(np.mean(rows**2, axis=0)), atol=1e-12)


def test_the_size_of_an_input_does_not_matter_and_it_may_be_dead() -> None:
    rows, sizes = drawn(30), np.ones(INPUTS)
    sizes[3], sizes[5] = 1e4, 0.0
    np.testing.assert_allclose(gram(rows * sizes)[:3, :3], gram(np.delete(rows, 5, axis=1))[:3, :3], rtol=1e-9)


@pytest.mark.parametrize("samples", [2, 3])
def test_a_few_samples_give_a_matrix_that_can_be_inverted_once_damped(samples: int) -> None:
    found = gram(drawn(samples))
    assert np.linalg.eigvalsh(found)[0] > -1e-9
