"""Refitting from sums against scikit-learn on the rows, group by group; and inputs that would break a naive solver."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from graphprune.repair import ridge
from graphprune.repair.gram import HalvedSums
from graphprune.repair.ridge import PENALTIES, Fit, refit

SHAPES = [(1, 6, 4), (3, 2, 2), (5, 1, 1)]  # groups, inputs, outputs: dense, grouped, depthwise


def rows(shape: tuple[int, int, int], count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Inputs that hang together and do not have mean zero, and targets that are nearly linear in them."""
    random = np.random.default_rng(seed)
    groups, inputs, outputs = shape
    x = random.standard_normal((count, groups, inputs)) @ random.standard_normal((groups, inputs, inputs))[0] + 2
    t = np.einsum("ngi,gio->ngo", x, random.standard_normal(shape)) + random.standard_normal((groups, outputs)) * 3
    return x, t + 0.5 * random.standard_normal(t.shape)


def sums_of(x: np.ndarray, t: np.ndarray) -> HalvedSums:
    """One row for each sample."""
    sums = HalvedSums(x.shape[1], x.shape[2], t.shape[-1])
    if len(x):
        sums.add(x, t, len(x))
    return sums


def present(shape: tuple[int, int, int], seed: int = 9) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.standard_normal(shape), random.standard_normal((shape[0], shape[2]))


def by_scikit_learn(
    x: np.ndarray, t: np.ndarray, matrix: np.ndarray, shift: np.ndarray, penalty: float, *, with_shift: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Ridge towards ``matrix``: of what it leaves over. One plain fit for each group."""
    new, shifts = np.empty_like(matrix), np.empty_like(shift)
    for group in range(x.shape[1]):
        own, rest = x[:, group], t[:, group] - x[:, group] @ matrix[group]
        spread = ((own - own.mean(0)) ** 2 if with_shift else own**2).sum(0).mean()
        model = Ridge(alpha=penalty * spread, fit_intercept=with_shift, solver="cholesky")
        model.fit(own, rest if with_shift else rest - shift[group])
        new[group] = matrix[group] + model.coef_.T
        shifts[group] = model.intercept_ if with_shift else shift[group]
    return new, shifts


@pytest.mark.parametrize("with_shift", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("penalty", PENALTIES)
def test_equals_scikit_learn(
    shape: tuple[int, int, int], penalty: float, with_shift: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ridge, "PENALTIES", (penalty,))
    x, t = rows(shape, 60)
    matrix, shift = present(shape)
    found = refit(sums_of(x, t), matrix, shift, with_shift=with_shift)
    assert found.penalty == penalty
    wanted = by_scikit_learn(x, t, matrix, shift, penalty, with_shift=with_shift)
    np.testing.assert_allclose(found.matrix, wanted[0], atol=1e-8)
    np.testing.assert_allclose(found.shift, wanted[1], atol=1e-8)


@pytest.mark.parametrize("with_shift", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_penalty_is_judged_on_the_other_half(shape: tuple[int, int, int], with_shift: bool) -> None:
    """Few, noisy rows: each half fitted by scikit-learn and judged on the rows of the other."""
    x, t = rows(shape, 2 * shape[1] + 4)
    t = t + 3 * np.random.default_rng(1).standard_normal(t.shape)
    matrix, shift = present(shape)
    shift = shift if with_shift else t.mean(0)
    halves = (slice(0, None, 2), slice(1, None, 2))

    def squares(half: slice, weights: np.ndarray, offset: np.ndarray) -> float:
        return float(np.sum((t[half] - np.einsum("ngi,gio->ngo", x[half], weights) - offset) ** 2))

    errors = {
        penalty: sum(
            squares(judged, *by_scikit_learn(x[fit], t[fit], matrix, shift, penalty, with_shift=with_shift))
            for fit, judged in (halves, halves[::-1])
        )
        for penalty in PENALTIES
    }
    best = min(errors, key=errors.__getitem__)
    variation = float(np.sum((t - t.mean(0)) ** 2))
    found = refit(sums_of(x, t), matrix, shift, with_shift=with_shift)
    assert found.before == pytest.approx(sum(squares(half, matrix, shift) for half in halves) / variation)
    assert found.after == pytest.approx(errors[best] / variation)
    assert found.penalty == best


@pytest.mark.parametrize("shape", SHAPES)
def test_linear_relation_is_found(shape: tuple[int, int, int]) -> None:
    x, _ = rows(shape, 200)
    true, offset = present(shape, seed=4)
    found = refit(sums_of(x, np.einsum("ngi,gio->ngo", x, true) + offset), *present(shape), with_shift=True)
    np.testing.assert_allclose(found.matrix, true, atol=1e-2)
    np.testing.assert_allclose(found.shift, offset, atol=3e-2)
    assert found.after < 1e-8 < 0.1 < found.before


def test_without_a_bias_the_shift_stays() -> None:
    x, t = rows((1, 6, 4), 100)
    matrix, shift = present((1, 6, 4))
    found = refit(sums_of(x, t), matrix, shift, with_shift=False)
    np.testing.assert_array_equal(found.shift, shift)
    assert found.after < found.before


def test_noise_is_left_alone() -> None:
    """Nothing can be learned of targets that are noise around what the layer does already;
    a fit to all rows would fool.
    """
    x, _ = rows((1, 20, 3), 60)
    matrix, shift = present((1, 20, 3))
    t = x @ matrix[0] + shift + np.random.default_rng(2).standard_normal((60, 1, 3))
    found = refit(sums_of(x, t), matrix, shift, with_shift=True)
    fooled = by_scikit_learn(x, t, matrix, shift, 1e-6, with_shift=True)
    assert np.sum((t - x @ fooled[0][0] - fooled[1]) ** 2) < 0.8 * np.sum((t - x @ matrix[0] - shift) ** 2)
    assert not found.after < found.before
    np.testing.assert_array_equal(found.matrix, matrix)
    np.testing.assert_array_equal(found.shift, shift)
    assert found.penalty == np.inf


def test_what_is_right_already_is_left_alone() -> None:
    """The rounding of float32 is nothing to repair."""
    x, _ = rows((1, 6, 4), 100)
    matrix, shift = present((1, 6, 4))
    t = (x @ matrix[0] + shift).astype(np.float32).astype(np.float64)
    found = refit(sums_of(x, t), matrix, shift, with_shift=True)
    np.testing.assert_array_equal(found.matrix, matrix)
    assert found.before == found.after < 1e-12


def test_outputs_that_cannot_be_changed() -> None:
    """Their weights stay, and their shift is the best one for these weights; the others do not notice."""
    x, t = rows((1, 6, 4), 100)
    matrix, shift = present((1, 6, 4))
    matrix[..., 2] = 0
    alive = np.array([[True, True, False, True]])
    found = refit(sums_of(x, t), matrix, shift, with_shift=True, alive=alive)
    np.testing.assert_array_equal(found.matrix[..., 2], 0)
    assert found.shift[0, 2] == pytest.approx(t[:, 0, 2].mean())
    others = refit(sums_of(x, t[..., [0, 1, 3]]), matrix[..., [0, 1, 3]], shift[:, [0, 1, 3]], with_shift=True)
    if others.penalty == found.penalty:
        np.testing.assert_allclose(found.matrix[..., [0, 1, 3]], others.matrix)


def harmless(found: Fit, matrix: np.ndarray) -> None:
    """Finite, and no wild weights."""
    for values in (found.matrix, found.shift, np.array([found.before, found.after])):
        assert np.isfinite(values).all()
    assert np.abs(found.matrix - matrix).max() < 1e3
    if not found.after < found.before:
        np.testing.assert_array_equal(found.matrix, matrix)


@pytest.mark.parametrize("with_shift", [True, False])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("shape", [*SHAPES, (1, 40, 2)])
def test_fewer_rows_than_inputs(shape: tuple[int, int, int], count: int, with_shift: bool) -> None:
    x, t = rows(shape, count)
    matrix, shift = present(shape)
    found = refit(sums_of(x, t), matrix, shift, with_shift=with_shift)
    harmless(found, matrix)
    if count < 2:  # nobody is left to judge
        np.testing.assert_array_equal(found.matrix, matrix)
        assert found.after == found.before


@pytest.mark.parametrize("with_shift", [True, False])
@pytest.mark.parametrize("value", [0.0, 0.1, 1e4 + 1 / 3])
@pytest.mark.parametrize("dead", [slice(0, 1), slice(None)], ids=["one", "all"])
@pytest.mark.parametrize("shape", SHAPES)
def test_inputs_that_do_not_vary(shape: tuple[int, int, int], dead: slice, value: float, with_shift: bool) -> None:
    """Groups included that are constant as a whole: their weights say nothing, and must not run away."""
    x, t = rows(shape, 101)
    x[..., dead] = value
    if shape[0] > 1:
        x[:, 0] = value
    matrix, shift = present(shape)
    harmless(refit(sums_of(x, t), matrix, shift, with_shift=with_shift), matrix)


def test_constant_inputs_keep_their_weights() -> None:
    """With a bias there is a better way to make up for a constant than to move what multiplies it; where it is only
    rounding that varies, a fit to that would not even be seen in the error."""
    for seed in range(20):
        x, t = rows((5, 1, 1), 101, seed)
        x[:, 0] = np.random.default_rng(seed).uniform(0, 10)
        matrix, shift = present((5, 1, 1), seed + 100)
        found = refit(sums_of(x, t), matrix, shift, with_shift=True)
        assert found.matrix[0] == pytest.approx(matrix[0], abs=0.02)
        assert found.after < found.before


def test_targets_that_do_not_vary() -> None:
    """Judged right way up: rounding must not make the variation negative."""
    for value in (0.0, 0.1, 1 / 3, 1e4 + 0.7):
        x, _ = rows((1, 4, 2), 101)
        matrix, shift = present((1, 4, 2))
        found = refit(sums_of(x, np.full((101, 1, 2), value)), matrix, shift, with_shift=True)
        assert found.after < 1e-3 * found.before
        np.testing.assert_allclose(found.matrix, 0, atol=1e-3)
        np.testing.assert_allclose(found.shift, value, atol=1e-2)


@pytest.mark.parametrize("best", range(len(PENALTIES)))
def test_the_penalty_is_found_downhill_from_the_middle(best: int) -> None:
    asked: list[float] = []

    def error(penalty: float) -> float:
        asked.append(penalty)
        return abs(PENALTIES.index(penalty) - best) + 1.0

    assert ridge.lowest(PENALTIES, error) == PENALTIES[best]
    beyond = set(PENALTIES) - set(asked)
    assert best in (0, len(PENALTIES) - 1) or beyond, "every penalty was tried"


def test_a_system_that_rounding_has_made_indefinite_is_solved_all_the_same() -> None:
    damped = np.array([[[1.0, 0.5, 2.0], [0.5, 1.0, 0.0], [2.0, 0.0, 1.0]]])
    assert np.linalg.eigvalsh(damped[0]).min() < 0
    rest = np.arange(6.0).reshape(1, 3, 2)
    np.testing.assert_allclose(damped @ ridge._solved(damped, rest), rest, atol=1e-12)
