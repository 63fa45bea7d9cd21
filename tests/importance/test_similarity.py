"""CKA against its definition, written down again from Gram matrices, and against the vectors of the fact sheet."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphprune.importance.similarity import Moments, linear_cka
from graphprune.importance.streaming import StreamedCKA
from tests.importance.features import X, Y, pair

CKA_XY, DEBIASED_XY, DEBIASED_NUMERATOR_XY = 0.489766636235, -0.485746893560, -15.3333

seeds = st.integers(0, 2**32 - 1)
sides = st.booleans()


def gram_hsic(x: np.ndarray, y: np.ndarray) -> float:
    """``tr(K H L H)`` with the centring matrix H."""
    n = len(x)
    h = np.eye(n) - 1 / n
    return float(np.trace(x @ x.T @ h @ (y @ y.T) @ h))


def gram_hsic_unbiased(x: np.ndarray, y: np.ndarray) -> float:
    """HSIC_1 of Song et al. 2012: the unbiased estimator, from Gram matrices without their diagonals."""
    n, one = len(x), np.ones(len(x))
    k, l = x @ x.T, y @ y.T  # noqa: E741
    np.fill_diagonal(k, 0)
    np.fill_diagonal(l, 0)
    terms = (
        np.trace(k @ l) + (one @ k @ one) * (one @ l @ one) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (one @ k @ l @ one)
    )
    return float(terms / (n * (n - 3)))


def gram_cka(x: np.ndarray, y: np.ndarray, *, debiased: bool) -> float:
    hsic = gram_hsic_unbiased if debiased else gram_hsic
    return hsic(x, y) / math.sqrt(hsic(x, x) * hsic(y, y))


def test_fact_sheet_vectors() -> None:
    assert linear_cka(X, Y) == pytest.approx(CKA_XY, abs=1e-11)
    assert linear_cka(X, Y, debiased=True) == pytest.approx(DEBIASED_XY, abs=1e-11)
    assert Moments.of(X, Y).hsic(debiased=True) == pytest.approx(DEBIASED_NUMERATOR_XY, abs=1e-4)


@given(seeds, sides)
def test_equals_the_gram_form(seed: int, debiased: bool) -> None:
    x, y = pair(seed, 12)
    assert linear_cka(x, y, debiased=debiased) == pytest.approx(gram_cka(x, y, debiased=debiased), abs=1e-9)


@given(seeds, st.integers(4, 20))
def test_debiased_numerator_is_the_unbiased_estimator(seed: int, n: int) -> None:
    x, y = pair(seed, n)
    scale = gram_hsic(x, y)
    expected = n * (n - 3) * gram_hsic_unbiased(x, y)
    assert Moments.of(x, y).hsic(debiased=True) == pytest.approx(expected, abs=1e-9 * scale)


@given(seeds, sides)
def test_similarity_to_itself_is_one(seed: int, debiased: bool) -> None:
    x, _ = pair(seed, 12)
    assert linear_cka(x, x, debiased=debiased) == pytest.approx(1, abs=1e-12)


@given(seeds, sides, st.floats(0.01, 100))
def test_invariant_to_rotation_shift_and_scale(seed: int, debiased: bool, scale: float) -> None:
    x, y = pair(seed, 12)
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((4, 4)))
    moved = scale * y @ rotation - 5
    assert linear_cka(x, moved, debiased=debiased) == pytest.approx(linear_cka(x, y, debiased=debiased), abs=1e-9)


def test_not_invariant_to_general_linear_maps() -> None:
    assert abs(linear_cka(X, Y @ np.diag([1, 10])) - CKA_XY) > 0.01


@given(seeds, st.integers(1, 19))
def test_moments_add_up(seed: int, cut: int) -> None:
    x, y = pair(seed, 20)
    whole, parts = Moments.of(x, y), Moments.of(x[:cut], y[:cut]) + Moments.of(x[cut:], y[cut:])
    for name in Moments.__dataclass_fields__:
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-12, atol=1e-10)


@settings(deadline=None)
@given(seeds, sides, st.lists(st.integers(1, 7), min_size=1, max_size=8))
def test_streamed_equals_batch(seed: int, debiased: bool, batches: list[int]) -> None:
    batches = [*batches, 8]
    n = sum(batches)
    x, y = pair(seed, n)
    z, _ = pair(seed + 1, n)
    streamed = StreamedCKA(debiased=debiased)
    for rows in np.split(np.arange(n), np.cumsum(batches)[:-1]):
        streamed.reference(x[rows])
        streamed.candidate(0, y[rows])
        streamed.candidate(1, z[rows])
    for index, features in enumerate((y, z)):
        value, _ = streamed.result(index)
        assert value == pytest.approx(linear_cka(x, features, debiased=debiased), abs=1e-9)


@given(seeds, st.lists(st.integers(1, 7), min_size=1, max_size=8))
def test_halves_do_not_depend_on_the_batches(seed: int, batches: list[int]) -> None:
    """The standard error compares even with odd rows, however the rows arrive."""
    n = sum(batches) + 4
    x, y = pair(seed, n)
    streamed = StreamedCKA()
    for rows in np.split(np.arange(n), np.cumsum(batches)):
        streamed.reference(x[rows])
        streamed.candidate(0, y[rows])
    expected = abs(linear_cka(x[::2], y[::2]) - linear_cka(x[1::2], y[1::2])) / 2
    assert streamed.result(0)[1] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("debiased", [False, True])
@pytest.mark.parametrize("width", [3, 20, 100])
def test_wide_features_take_the_gram_form_and_agree(width: int, debiased: bool) -> None:
    """40 rows of 3 features are folded into moments, of 100 they are kept; of 20 the last ones are folded late."""
    x, y = pair(5, 40, width)
    streamed = StreamedCKA(debiased=debiased)
    for rows in np.split(np.arange(40), [1, 8, 20, 39]):
        streamed.reference(x[rows])
        streamed.candidate(0, y[rows])
    value, error = streamed.result(0)
    assert value == pytest.approx(gram_cka(x, y, debiased=debiased), abs=1e-9)
    one, two = (gram_cka(x[half::2], y[half::2], debiased=debiased) for half in (0, 1))
    assert error == pytest.approx(abs(one - two) / 2, abs=1e-9)
    assert linear_cka(x, y, debiased=debiased) == pytest.approx(value, abs=1e-9)


def test_memory_is_bounded_by_the_width() -> None:
    assert StreamedCKA.memory_bytes(100, 1000) == 4 * 100 * 1000
    assert StreamedCKA.memory_bytes(10**9, 1000) == 32 * 1000**2
    streamed = StreamedCKA()
    for _ in range(100):
        x, y = pair(0, 16)
        streamed.reference(x)
        streamed.candidate(0, y)
    kept = [rows for half in streamed._halves for rows in (*half.x, *half.y[0])]
    assert sum(map(len, kept)) <= 4 * 16


@pytest.mark.parametrize("debiased", [False, True])
def test_float32_far_from_zero_keeps_its_digits(debiased: bool) -> None:
    x, y = pair(3, 64)
    far_x, far_y = (x + 1e3).astype(np.float32), (y + 1e3).astype(np.float32)
    streamed = StreamedCKA(debiased=debiased)
    for rows in np.split(np.arange(64), 4):
        streamed.reference(far_x[rows])
        streamed.candidate(0, far_y[rows])
    expected = gram_cka(x - x.mean(0), y - y.mean(0), debiased=debiased)
    assert streamed.result(0)[0] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("debiased", [False, True])
@pytest.mark.parametrize("constant", [0.0, 0.1, -1234.567])
def test_constant_features_are_like_nothing(constant: float, debiased: bool) -> None:
    x, _ = pair(0, 24)
    flat = np.full_like(x, constant)
    for one, other in ((x, flat), (flat, x), (flat, flat)):
        assert linear_cka(one, other, debiased=debiased) == pytest.approx(0, abs=1e-9)
        streamed = StreamedCKA(debiased=debiased)
        for rows in np.split(np.arange(24), [5, 12]):
            streamed.reference(one[rows])
            streamed.candidate(0, other[rows])
        assert streamed.result(0)[0] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("debiased", [False, True])
def test_candidate_far_from_the_reference_keeps_its_digits(debiased: bool) -> None:
    x, y = pair(3, 64)
    streamed = StreamedCKA(debiased=debiased)
    for rows in np.split(np.arange(64), 4):
        streamed.reference(x[rows])
        streamed.candidate(0, y[rows] + 1e4)
    assert streamed.result(0)[0] == pytest.approx(linear_cka(x, y, debiased=debiased), abs=1e-6)


def test_tiny_but_varying_features_count() -> None:
    assert linear_cka(X, 1e-12 * Y) == pytest.approx(CKA_XY, abs=1e-9)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_debiased_needs_more_than_three_rows(n: int) -> None:
    with pytest.raises(ValueError, match="more than 3"):
        linear_cka(X[:n], Y[:n], debiased=True)


def test_candidate_before_reference_is_an_error() -> None:
    with pytest.raises(ValueError, match="before reference"):
        StreamedCKA().candidate(0, X)


def test_standard_error_of_one_row_is_unknown() -> None:
    streamed = StreamedCKA()
    streamed.reference(X[:1])
    streamed.candidate(0, Y[:1])
    assert math.isnan(streamed.result(0)[1])


@pytest.mark.parametrize("n", [4, 5, 6, 7])
def test_standard_error_of_halves_too_small_to_debias_is_unknown(n: int) -> None:
    x, y = pair(0, n)
    streamed = StreamedCKA(debiased=True)
    streamed.reference(x)
    streamed.candidate(0, y)
    value, error = streamed.result(0)
    assert value == pytest.approx(linear_cka(x, y, debiased=True), abs=1e-9)
    assert math.isnan(error)


@pytest.mark.parametrize("debiased", [False, True])
def test_standard_error_shrinks_with_data(debiased: bool) -> None:
    mean_error = {}
    for n in (20, 2000):
        errors = []
        for seed in range(20):
            x, y = pair(seed, n)
            streamed = StreamedCKA(debiased=debiased)
            streamed.reference(x)
            streamed.candidate(0, y)
            errors.append(streamed.result(0)[1])
        mean_error[n] = np.mean(errors)
    assert 0 < mean_error[2000] < mean_error[20] / 3
