"""The sums against brute force: streamed as at once, halves by sample, errors as the rows themselves give them."""

from __future__ import annotations

import numpy as np
import pytest

from graphprune.repair.gram import HalvedSums, Sums

RANDOM = np.random.default_rng(5)
SHAPES = [(1, 5, 3), (3, 2, 2), (4, 1, 1)]  # groups, inputs, outputs: dense, grouped, depthwise
FIELDS = ("x", "t", "xx", "xt", "tt")


def drawn(rows: int, groups: int, inputs: int, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    return RANDOM.standard_normal((rows, groups, inputs)) + 1, RANDOM.standard_normal((rows, groups, outputs)) - 2


def assert_are_sums(sums: Sums, x: np.ndarray, t: np.ndarray) -> None:
    """Group by group, product by product."""
    assert sums.n == len(x)
    for group in range(x.shape[1]):
        own, wanted = x[:, group], t[:, group]
        np.testing.assert_allclose(sums.x[group], own.sum(0))
        np.testing.assert_allclose(sums.t[group], wanted.sum(0))
        np.testing.assert_allclose(sums.xx[group], sum(np.outer(row, row) for row in own))
        np.testing.assert_allclose(sums.xt[group], sum(np.outer(a, b) for a, b in zip(own, wanted, strict=True)))
        np.testing.assert_allclose(sums.tt[group], (wanted**2).sum(0))


@pytest.mark.parametrize("shape", SHAPES)
def test_streamed_is_at_once(shape: tuple[int, int, int]) -> None:
    x, t = drawn(30, *shape)
    sums = Sums.empty(*shape)
    for start, stop in ((0, 1), (1, 8), (8, 8), (8, 30)):
        sums.add(x[start:stop], t[start:stop])
    assert_are_sums(sums, x, t)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("batches", [[12], [1] * 12, [5, 5, 2], [3, 1, 1, 7], [4, 4, 4]])
def test_halves_are_even_and_odd_samples(shape: tuple[int, int, int], batches: list[int]) -> None:
    """Whatever the sizes of the batches: sample 7 is odd, wherever a batch begins."""
    places = 5
    x, t = drawn(sum(batches) * places, *shape)
    sums, start = HalvedSums(*shape), 0
    for samples in batches:
        stop = start + samples * places
        sums.add(x[start:stop], t[start:stop], samples)
        start = stop
    sample = np.arange(len(x)) // places
    for parity, half in enumerate(sums.halves):
        assert_are_sums(half, x[sample % 2 == parity], t[sample % 2 == parity])
    assert_are_sums(sums.whole, x, t)


def test_samples_of_unequal_rows_stay_together() -> None:
    """Seven rows of three samples cannot be told apart; all go into the half of the first, and none is lost."""
    x, t = drawn(8, 1, 2, 1)
    sums = HalvedSums(1, 2, 1)
    sums.add(x[:7], t[:7], 3)
    sums.add(x[7:], t[7:], 1)
    assert_are_sums(sums.halves[0], x[:7], t[:7])
    assert_are_sums(sums.halves[1], x[7:], t[7:])


@pytest.mark.parametrize("shape", SHAPES)
def test_error_is_that_of_the_rows(shape: tuple[int, int, int]) -> None:
    x, t = drawn(40, *shape)
    sums = Sums.empty(*shape)
    sums.add(x, t)
    matrix, shift = RANDOM.standard_normal(shape), RANDOM.standard_normal((shape[0], shape[2]))
    brute = sum(np.sum((t[:, group] - x[:, group] @ matrix[group] - shift[group]) ** 2) for group in range(shape[0]))
    assert sums.error(matrix, shift) == pytest.approx(brute)
    assert sums.variation == pytest.approx(float(np.sum((t - t.mean(0)) ** 2)))


def test_nothing_and_constants() -> None:
    """No rows: no error. Targets that do not vary: no negative variation, whatever rounding does."""
    sums = Sums.empty(1, 2, 1)
    assert (sums.error(np.ones((1, 2, 1)), np.ones((1, 1))), sums.variation) == (0.0, 0.0)
    for value in (0.1, 1 / 3, 1e5 + 0.7):
        sums = Sums.empty(1, 2, 1)
        sums.add(np.ones((1001, 1, 2)), np.full((1001, 1, 1), value))
        assert 0 < sums.variation < 1e-9 * 1001 * value**2


def test_memory() -> None:
    sums = HalvedSums(3, 4, 5)
    held = sum(half.xx.nbytes + half.xt.nbytes for half in sums.halves)
    assert HalvedSums.memory_bytes(3, 4, 5) == held
