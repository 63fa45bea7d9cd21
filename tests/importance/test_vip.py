"""PLS-VIP against NIPALS written down again, scikit-learn's whole PLS, closed forms,
and the identities of the sheet.
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cross_decomposition import PLSRegression

from graphprune.errors import DataError, OptionError
from graphprune.importance.vip import one_hot, pls_vip, vip
from tests.importance.nipals import nipals

seeds = st.integers(0, 2**32 - 1)
components_ = st.integers(1, 4)


def labelled(seed: int, n: int = 60, p: int = 7, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Correlated features (n, p) of different units, shifted by class, and one-hot labels (n, k)."""
    generator = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), generator.integers(0, classes, n - classes)])
    x = generator.standard_normal((n, p)) @ generator.standard_normal((p, p))
    x += 2 * generator.standard_normal((classes, p))[labels]
    return x * generator.uniform(0.1, 10, p) + generator.uniform(-5, 5, p), one_hot(labels)


def test_formula_by_hand() -> None:
    """s = (2*3, 1*2) = (6, 2): VIP_1^2 = 2 * (6*0.36 + 2*0.64) / 8 = 0.86, VIP_2^2 = 2 - 0.86."""
    weights = np.array([[0.6, 0.8], [0.8, -0.6]])
    scores = vip(weights, np.array([2.0, 1.0]), np.array([3.0, 2.0]))
    np.testing.assert_allclose(scores**2, [0.86, 1.14], rtol=1e-14)


def test_one_component_is_the_weight() -> None:
    x, y = labelled(0)
    weights = nipals(x, y, 1).weights[:, 0]
    np.testing.assert_allclose(pls_vip(x, y, 1), np.sqrt(7) * np.abs(weights), atol=1e-10)


def test_nothing_explained_is_zero() -> None:
    assert not vip(np.eye(3, 2), np.array([4.0, 1.0]), np.zeros(2)).any()


def test_huge_scores_do_not_overflow() -> None:
    scores = vip(np.eye(2), np.full(2, 1e200), np.full(2, 1e100))
    np.testing.assert_allclose(scores, [1, 1])


@given(seeds, components_, st.integers(2, 4))
def test_equals_nipals(seed: int, components: int, classes: int) -> None:
    x, y = labelled(seed, classes=classes)
    reference = nipals(x, y, components)
    s = (reference.scores**2).sum(0) * (reference.loadings**2).sum(0)
    if s.min() < 1e-6 * s.max():
        return  # the loop that defines NIPALS does not settle on what explains nothing
    np.testing.assert_allclose(pls_vip(x, y, components), reference.vip(), atol=1e-6)


@pytest.mark.parametrize("components", [1, 2, 3])
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_equals_the_references_to_rounding(classes: int, components: int) -> None:
    """Two other ways to the same answer: NIPALS of the tests, and scikit-learn's PLS in one go, standardising too."""
    x, y = labelled(11, classes=classes)
    whole = PLSRegression(components, scale=True, tol=1e-30, max_iter=20_000).fit(x, y)
    s = (whole.x_scores_**2).sum(0) * (whole.y_loadings_**2).sum(0)
    scores = pls_vip(x, y, components)
    np.testing.assert_allclose(scores, vip(whole.x_weights_, s, np.ones(components)), atol=1e-10)
    np.testing.assert_allclose(scores, nipals(x, y, components).vip(), atol=1e-10)


@given(seeds, components_)
def test_squares_sum_to_the_number_of_features(seed: int, components: int) -> None:
    x, y = labelled(seed)
    assert np.sum(pls_vip(x, y, components) ** 2) == pytest.approx(7, abs=1e-10)


@given(seeds, components_)
def test_invariant_to_units_and_signs_of_features(seed: int, components: int) -> None:
    x, y = labelled(seed)
    generator = np.random.default_rng(seed)
    factors = generator.uniform(0.01, 100, 7) * generator.choice([-1, 1], 7)
    moved = x * factors + generator.uniform(-10, 10, 7)
    np.testing.assert_allclose(pls_vip(moved, y, components), pls_vip(x, y, components), atol=1e-8)


@given(seeds, st.lists(st.sampled_from([-1, 1]), min_size=2, max_size=2))
def test_invariant_to_signs_of_components(seed: int, signs: list[int]) -> None:
    generator = np.random.default_rng(seed)
    weights, s, q = generator.standard_normal((5, 2)), generator.uniform(1, 2, 2), generator.uniform(1, 2, 2)
    np.testing.assert_array_equal(vip(weights * signs, s, q), vip(weights, s, q))


@given(seeds, st.permutations(range(4)))
def test_order_of_classes_and_samples_does_not_matter(seed: int, order: list[int]) -> None:
    """It does with scikit-learn's own start and tolerance: by 0.018 on its digits."""
    x, y = labelled(seed, classes=4)
    rows = np.random.default_rng(seed).permutation(len(x))
    np.testing.assert_allclose(pls_vip(x[rows], y[rows][:, order]), pls_vip(x, y), atol=1e-7)


@given(seeds, st.sets(st.integers(0, 9), min_size=1, max_size=5), st.sampled_from([np.float64, np.float32]))
def test_dead_features_get_zero_and_change_nothing(seed: int, dead: set[int], dtype: type) -> None:
    x, y = labelled(seed)
    x = x.astype(dtype)
    alive = np.ones(7 + len(dead), bool)
    alive[[min(index, len(alive) - 1) for index in dead]] = False
    alive[: 7 - alive.sum()] = True  # sizes differ where two dead indices meet
    wide: np.ndarray = np.full((len(x), len(alive)), 0.1, dtype)
    wide[:, np.flatnonzero(alive)[:7]] = x
    scores = pls_vip(wide, y)
    np.testing.assert_allclose(scores[np.flatnonzero(alive)[:7]], pls_vip(x, y), atol=1e-12)
    assert np.sum(scores**2) == pytest.approx(7, abs=1e-10)


def test_rounding_noise_is_dead() -> None:
    """A dead channel whose float32 sums come out one last digit apart, in step with the labels."""
    x, y = labelled(1)
    x = x.astype(np.float32)
    x[:, 2] = np.where(y[:, 0] == 1, np.float32(3), np.nextafter(np.float32(3), np.float32(4)))
    scores = pls_vip(x, y)
    assert scores[2] == 0
    assert np.all(np.delete(scores, 2) > 0)


def test_small_features_are_alive() -> None:
    x, y = labelled(1)
    np.testing.assert_allclose(pls_vip(x * 1e-30, y), pls_vip(x, y), atol=1e-10)


def test_more_components_than_there_are() -> None:
    x, y = labelled(2, n=30, p=3)
    np.testing.assert_array_equal(pls_vip(x, y, 99), pls_vip(x, y, 3))


@pytest.mark.parametrize("components", [1, 2, 5])
def test_copies_of_one_feature_share_its_importance(components: int) -> None:
    """Rank one: a second component would be rounding errors."""
    x, y = labelled(3, p=1)
    np.testing.assert_allclose(pls_vip(np.hstack([x, 2 * x, -3 * x]), y, components), np.ones(3), atol=1e-10)


def test_labels_that_one_component_explains_need_no_second() -> None:
    signs = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]] * 3, np.float64)
    np.testing.assert_allclose(pls_vip(signs, one_hot(signs[:, 0]), 2), [np.sqrt(2), 0], atol=1e-10)


def test_features_that_say_nothing_are_refused() -> None:
    """Exclusive or: neither input alone has to do with the label."""
    inputs = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float64)
    with pytest.raises(DataError, match="none of the 2 features that vary has to do with the labels"):
        pls_vip(inputs, one_hot([0, 1, 1, 0]))


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_input_is_left_alone(dtype: type) -> None:
    x, y = labelled(4)
    x = x.astype(dtype)
    before, labels = x.copy(), y.copy()
    scores = pls_vip(x, y)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(y, labels)
    assert scores.dtype == np.float64


def test_one_hot_drops_classes_that_do_not_occur() -> None:
    np.testing.assert_array_equal(one_hot([7, 2, 7]), [[0, 1], [1, 0], [0, 1]])
    assert one_hot(np.array([True, False])).dtype == np.float64


@pytest.mark.parametrize("labels", [[[0], [1]], [], 3])
def test_one_hot_refuses(labels: object) -> None:
    with pytest.raises(DataError, match="one class per sample"):
        one_hot(labels)  # type: ignore[arg-type]


X, Y = labelled(5)


@pytest.mark.parametrize(
    ("features", "responses", "message"),
    [
        (X[:2], one_hot([0, 1]), "by 2 samples"),
        (X, one_hot(np.zeros(60)), "one label"),
        (X, np.zeros((60, 0)), "one label"),
        (X, Y[:-1], "one row of each"),
        (X[:, 0], Y, "one row of each"),
        (X, Y[:, 0], "one row of each"),
        (np.where(np.arange(7) == 3, np.nan, X), Y, "1 of the 7 features given to PLS are not finite"),
        (np.where(np.arange(7) > 4, np.inf, X), Y, "2 of the 7 features"),
        (X, Y + np.nan, "3 of the 3 responses"),
        (np.full((60, 7), 0.1), Y, "none of the 7 features varies"),
    ],
)
def test_refuses(features: np.ndarray, responses: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        pls_vip(features, responses)


def test_refuses_no_component() -> None:
    with pytest.raises(OptionError, match="0 components"):
        pls_vip(X, Y, 0)


def test_scikit_learn_is_not_imported_early() -> None:
    code = "import sys, graphprune.cli.main, graphprune.importance.vip; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
