"""Gaussian stochastic metrics against closed forms and brute force with SciPy's matrix square root."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.optimize import minimize_scalar

from graphprune.importance.stochastic_metrics import gaussian_stochastic

Classes = list[tuple[np.ndarray, np.ndarray]]


def labelled(
    seed: int, n: int, d: int, classes: int = 3, change: float = 0.7
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Paired features of samples in classes with means and spreads of their own."""
    generator = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    centres = 2 * generator.standard_normal((classes, d))
    x = centres[labels] + generator.standard_normal((n, d)) * (1 + labels[:, None])
    return x, x + change * generator.standard_normal((n, d)) @ generator.standard_normal((d, d)) + 0.3, labels


def gaussians(x: np.ndarray, labels: np.ndarray) -> Classes:
    return [(x[labels == k].mean(0), np.cov(x[labels == k].T)) for k in np.unique(labels)]


def bures_squared(a: np.ndarray, b: np.ndarray) -> float:
    """``tr A + tr B - 2 tr (A^(1/2) B A^(1/2))^(1/2)``."""
    root = sqrtm(a)
    return float(np.trace(a) + np.trace(b) - 2 * np.trace(sqrtm(root @ b @ root)).real)


def distance_after(one: Classes, other: Classes, rotation: np.ndarray, alpha: float) -> float:
    total = 0.0
    for (mean, covariance), (other_mean, other_covariance) in zip(one, other, strict=True):
        total += alpha * np.sum((mean - rotation @ other_mean) ** 2)
        total += (2 - alpha) * bures_squared(covariance, rotation @ other_covariance @ rotation.T)
    return float(np.sqrt(total / len(one)))


def smallest(one: Classes, other: Classes, alpha: float) -> float:
    """Over all orthogonal maps of the plane: each tried every six degrees, then refined."""
    best = np.inf
    for flip in (np.eye(2), np.diag([1, -1])):

        def after(angle: float, flip: np.ndarray = flip) -> float:
            cosine, sine = np.cos(angle), np.sin(angle)
            return distance_after(one, other, np.array([[cosine, -sine], [sine, cosine]]) @ flip, alpha)

        start = min(np.linspace(0, 2 * np.pi, 60, endpoint=False), key=after)
        best = min(best, minimize_scalar(after, bounds=(start - 0.1, start + 0.1), method="bounded").fun)
    return best


@pytest.mark.parametrize("alpha", [0, 1, 2])
@pytest.mark.parametrize("seed", range(4))
def test_is_the_smallest_over_all_rotations_of_the_plane(alpha: float, seed: int) -> None:
    x, y, labels = labelled(seed, 60, 2, change=0.1)
    expected = smallest(gaussians(x, labels), gaussians(y, labels), alpha)
    assert gaussian_stochastic(x, y, labels, alpha) == pytest.approx(expected, rel=1e-3)


def test_means_only_is_procrustes_of_the_means() -> None:
    x, y, labels = labelled(3, 60, 5)
    means, others = (np.stack([mean for mean, _ in gaussians(each, labels)]) for each in (x, y))
    nuclear = np.linalg.svd(means.T @ others)[1].sum()
    expected = np.sqrt(2 * (np.sum(means**2) + np.sum(others**2) - 2 * nuclear) / 3)
    assert gaussian_stochastic(x, y, labels, 2) == pytest.approx(expected, abs=1e-9)


def test_one_class_without_means_compares_spectra() -> None:
    """The best rotation lays the principal axes over each other."""
    x, y, _ = labelled(4, 60, 5)
    roots = [np.sqrt(np.linalg.eigvalsh(np.cov(each.T))) for each in (x, y)]
    expected = np.sqrt(2 * np.sum((roots[0] - roots[1]) ** 2))
    assert gaussian_stochastic(x, y, np.zeros(60, int), 0) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("alpha", [0, 1, 2])
@pytest.mark.parametrize(("n", "d"), [(60, 5), (9, 5), (20, 40)])
def test_turned_features_are_at_no_distance(alpha: float, n: int, d: int) -> None:
    """Also with fewer samples than features, in a class or in all."""
    x, _, labels = labelled(5, n, d)
    rotation, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((d, d)))
    scale = np.linalg.norm(x) / np.sqrt(n)
    for other in (x, x @ rotation):
        assert gaussian_stochastic(x, other, labels, alpha) == pytest.approx(0, abs=1e-6 * scale)
    assert gaussian_stochastic(x, 2 * x, labels, alpha) > 0.1 * scale / np.sqrt(d)


@pytest.mark.parametrize("alpha", [0, 1, 2])
def test_fewer_samples_than_features_have_a_span_of_their_own(alpha: float) -> None:
    """Features that are zero everywhere add nothing, wide or not."""
    x, y, labels = labelled(6, 20, 6)
    wide_x, wide_y = (np.hstack([each, np.zeros((20, 30))]) for each in (x, y))
    expected = gaussian_stochastic(x, y, labels, alpha)
    assert gaussian_stochastic(wide_x, wide_y, labels, alpha) == pytest.approx(expected, rel=1e-3)


def test_order_of_samples_and_names_of_classes_do_not_matter() -> None:
    x, y, labels = labelled(7, 60, 4)
    order = np.random.default_rng(0).permutation(60)
    expected = gaussian_stochastic(x, y, labels, 1)
    assert gaussian_stochastic(x[order], y[order], 90 - 7 * labels[order], 1) == pytest.approx(expected, rel=1e-6)
    assert gaussian_stochastic(x, y, np.random.default_rng(1).permutation(labels), 1) != pytest.approx(
        expected, rel=1e-3
    )


def test_alpha_has_its_range_and_samples_are_finite() -> None:
    x, y, labels = labelled(8, 12, 3)
    with pytest.raises(ValueError, match="alpha"):
        gaussian_stochastic(x, y, labels, 2.5)
    assert gaussian_stochastic(x, np.full_like(y, np.nan), labels, 1) == np.inf
