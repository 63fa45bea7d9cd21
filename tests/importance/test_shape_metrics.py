"""Shape metrics against the vectors of the fact sheet, closed forms, and what they must not see."""

from __future__ import annotations

from itertools import permutations
from math import pi

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import orthogonal_procrustes

from graphprune.importance.shape_metrics import Products, linear, permutation
from graphprune.importance.similarity import centred, spanned
from graphprune.importance.streaming import StreamedCKA
from graphprune.importance.wasserstein import wasserstein
from tests.importance.features import X, Y, pair

# Source: methods.md section 3, "Test vectors", for the X and Y of section 2.
PERMUTATION_XY, LINEAR_1_XY, LINEAR_0_XY, WASSERSTEIN_XY = 0.719775144522, 0.718897933786, 0.578952613492, 0.3

seeds = st.integers(0, 2**32 - 1)


def linear_0(products: Products) -> float:
    return linear(products, 0)


def linear_1(products: Products) -> float:
    return linear(products, 1)


ALL = pytest.mark.parametrize("metric", [permutation, linear_0, linear_1])


def test_fact_sheet_vectors() -> None:
    products = Products.of(X, Y)
    assert permutation(products) == pytest.approx(PERMUTATION_XY, abs=1e-11)
    assert linear_1(products) == pytest.approx(LINEAR_1_XY, abs=1e-11)
    assert linear_0(products) == pytest.approx(LINEAR_0_XY, abs=1e-11)
    assert wasserstein(X, Y) == pytest.approx(WASSERSTEIN_XY, abs=1e-11)


@ALL
@settings(deadline=None)
@given(seeds)
def test_equal_features_are_at_no_distance(metric, seed: int) -> None:  # type: ignore[no-untyped-def]
    x, _ = pair(seed, 12)
    assert metric(Products.of(x, 3 * x - 7)) == pytest.approx(0, abs=1e-7)  # arccos loses half the digits at 1
    assert wasserstein(x, x) == 0


@settings(deadline=None)
@given(seeds)
def test_permutation_is_the_best_of_all(seed: int) -> None:
    x, y = pair(seed, 12)
    xc, yc = x - x.mean(0), y - y.mean(0)
    best = max(np.sum(xc * yc[:, order]) for order in permutations(range(4)))
    expected = np.arccos(best / np.linalg.norm(xc) / np.linalg.norm(yc))
    assert permutation(Products.of(x, y)) == pytest.approx(expected, abs=1e-9)
    assert permutation(Products.of(x, y[:, [2, 0, 3, 1]])) == pytest.approx(expected, abs=1e-9)


@settings(deadline=None)
@given(seeds)
def test_linear_1_is_the_angle_after_procrustes(seed: int) -> None:
    """By SciPy's rotation of the rows themselves; a rotated Y comes out the same."""
    x, y = pair(seed, 12)
    xc, yc = x - x.mean(0), y - y.mean(0)
    turned = yc @ orthogonal_procrustes(yc, xc)[0]
    expected = np.arccos(np.sum(xc * turned) / np.linalg.norm(xc) / np.linalg.norm(yc))
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((4, 4)))
    for other in (y, 0.5 * y @ rotation + 2):
        assert linear_1(Products.of(x, other)) == pytest.approx(expected, abs=1e-9)


@settings(deadline=None)
@given(seeds)
def test_linear_0_is_the_mean_canonical_correlation(seed: int) -> None:
    """Canonical correlations by QR of the rows; any invertible map of Y comes out the same."""
    x, y = pair(seed, 40)
    bases = [np.linalg.qr(rows - rows.mean(0))[0] for rows in (x, y)]
    expected = np.arccos(np.linalg.svd(bases[0].T @ bases[1])[1].mean())
    mixing = np.random.default_rng(seed).standard_normal((4, 4)) + 3 * np.eye(4)
    for other in (y, y @ mixing - 1):
        assert linear_0(Products.of(x, other)) == pytest.approx(expected, abs=1e-6)


def test_each_metric_sees_what_its_group_does_not_hold() -> None:
    x, y = pair(1, 40)
    rotation, _ = np.linalg.qr(np.random.default_rng(2).standard_normal((4, 4)))
    products, turned, mixed = (Products.of(x, each) for each in (y, y @ rotation, y @ np.diag([1, 2, 3, 9])))
    assert abs(permutation(turned) - permutation(products)) > 0.01
    assert abs(linear_1(mixed) - linear_1(products)) > 0.01
    assert permutation(products) > linear_1(products) > 0
    assert linear(products, 0.5) != pytest.approx(linear_1(products), abs=1e-3)


def test_a_dead_feature_changes_no_canonical_correlation() -> None:
    """A channel that is the same for all samples has no direction to whiten."""
    x, y = pair(1, 40)
    dead = np.full((40, 1), 5.0)
    assert linear_0(Products.of(np.hstack([x, dead]), np.hstack([y, dead]))) == pytest.approx(
        linear_0(Products.of(x, y)), abs=1e-9
    )


def test_rounding_is_no_direction_to_whiten() -> None:
    """A feature that is the sum of two others, to float32, adds only noise, which whitening would blow up."""
    x, y = (rows.astype(np.float32) for rows in pair(1, 40))
    more = [np.hstack([rows, (rows[:, :1] / 3 + rows[:, 1:2] / 7)]) for rows in (x, y)]
    assert linear_0(Products.of(*more)) == pytest.approx(linear_0(Products.of(x, y)), abs=1e-4)


@ALL
@pytest.mark.parametrize("flat", [0.0, 0.1, -1234.567, np.nan])
def test_features_that_do_not_vary_are_at_a_right_angle(metric, flat: float) -> None:  # type: ignore[no-untyped-def]
    x, _ = pair(0, 24)
    constant = np.full_like(x, flat)
    for one, other in ((x, constant), (constant, x), (constant, constant)):
        assert metric(Products.of(one, other)) == pi / 2


@pytest.mark.parametrize("width", [3, 20, 100])
@pytest.mark.parametrize("in_span", [False, True])
def test_streamed_products_give_the_same_distances(width: int, in_span: bool) -> None:
    """40 rows: of 3 features they are folded into moments, of 100 they are kept, and in their span have 40."""
    x, y = pair(5, 40, width)
    streamed = StreamedCKA()
    for rows in np.split(np.arange(40), [1, 8, 20, 39]):
        streamed.reference(x[rows])
        streamed.candidate(0, y[rows])
    products, whole = streamed.products(0, in_span=in_span), Products.of(x, y)
    assert len(products.xx) == (40 if in_span and width == 100 else width)
    assert linear_1(products) == pytest.approx(linear_1(whole), abs=1e-7)
    assert linear_0(products) == pytest.approx(linear_0(whole), abs=1e-7)
    if not in_span:
        assert permutation(products) == pytest.approx(permutation(whole), abs=1e-7)


def test_spanned_keeps_all_inner_products() -> None:
    x, y = (centred(rows) for rows in pair(5, 10, 30))
    np.testing.assert_allclose(spanned(x) @ spanned(x).T, x @ x.T, atol=1e-9)
    assert spanned(x.T) is not None and spanned(x.T).shape == (30, 10)
    assert spanned(y).shape == (10, 10)


def test_no_more_rows_than_features_make_linear_0_blind() -> None:
    """Why the pass leaves it out then: any two such sets are maps of each other."""
    x, y = pair(5, 8, 8)
    assert linear_0(Products.of(x, np.random.default_rng(1).permutation(y))) == pytest.approx(0, abs=1e-4)
    assert linear_1(Products.of(x, y)) > 0.05


@pytest.mark.parametrize("alpha", [-0.1, 1.1])
def test_alpha_has_its_range(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha"):
        linear(Products.of(X, Y), alpha)


def test_wasserstein_sees_values_only() -> None:
    x, y = pair(5, 40)
    shuffled = np.random.default_rng(0).permutation(y.ravel()).reshape(y.shape)
    assert wasserstein(x, shuffled) == pytest.approx(wasserstein(x, y), abs=1e-12)
    assert wasserstein(x, x + 2) == pytest.approx(2)
    assert wasserstein(x, np.full_like(x, np.inf)) == np.inf
