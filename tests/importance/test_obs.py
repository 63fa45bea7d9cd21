"""Optimal brain surgeon for whole units, against plain least squares on the rows themselves."""

from __future__ import annotations

import numpy as np
import pytest

from graphprune.importance import obs
from graphprune.importance.obs import Reader, removal_losses

ROWS, UNITS, EACH, OUTPUTS = 400, 6, 3, 4


@pytest.fixture(autouse=True)
def undamped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(obs, "_DAMPING", 1e-13)


def layer(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Correlated rows (rows, inputs), weights (inputs, outputs), and the unit of each input, in no order."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((ROWS, UNITS * EACH)) @ random.standard_normal((UNITS * EACH, UNITS * EACH))
    return x, random.standard_normal((UNITS * EACH, OUTPUTS)), random.permutation(np.repeat(np.arange(UNITS), EACH))


def refitted(x: np.ndarray, weights: np.ndarray, left: np.ndarray) -> float:
    """Mean squared error of the best weights on the inputs that are left."""
    target = x @ weights
    found = np.linalg.lstsq(x[:, left], target, rcond=None)[0] if left.any() else np.zeros((0, OUTPUTS))
    return float(np.sum((target - x[:, left] @ found) ** 2) / len(x))


def test_a_unit_alone_costs_what_refitting_leaves() -> None:
    x, weights, owner = layer()
    reader = Reader(x.T @ x / ROWS, weights, owner, UNITS)
    expected = [refitted(x, weights, owner != unit) for unit in range(UNITS)]
    np.testing.assert_allclose(reader.losses(range(UNITS)), expected, rtol=1e-6)


def test_after_some_have_left_the_rest_is_refitted() -> None:
    x, weights, owner = layer(1)
    reader = Reader(x.T @ x / ROWS, weights, owner, UNITS)
    reader.remove([4])
    reader.remove([0, 2])
    before = refitted(x, weights, ~np.isin(owner, [0, 2, 4]))
    expected = [refitted(x, weights, ~np.isin(owner, [0, 2, 4, unit])) - before for unit in (1, 3, 5)]
    np.testing.assert_allclose(reader.losses([1, 3, 5]), expected, rtol=1e-5)


def test_losses_rise_in_the_order_of_removal_and_add_up() -> None:
    x, weights, owner = layer(2)
    losses = removal_losses([Reader(x.T @ x / ROWS, weights, owner, UNITS)], UNITS)
    order = np.argsort(losses, kind="stable")
    left = np.ones(len(owner), dtype=bool)
    total = 0.0
    for unit in order[:-1]:
        costs = {
            other: refitted(x, weights, left & (owner != other))
            for other in range(UNITS)
            if (left & (owner == other)).any()
        }
        assert min(costs, key=costs.__getitem__) == unit  # greedy, after refitting
        left &= owner != unit
        total += losses[unit]
        assert total >= refitted(x, weights, left) * (1 - 1e-6)  # never falling: some losses are raised to the last
    assert losses[order[-1]] > losses[order[-2]]


def test_a_copy_of_another_unit_is_free() -> None:
    x, weights, owner = layer(3)
    x[:, np.flatnonzero(owner == 2)] = x[:, np.flatnonzero(owner == 5)]
    losses = removal_losses([Reader(x.T @ x / ROWS + 1e-9 * np.eye(x.shape[1]), weights, owner, UNITS)], UNITS)
    assert min(losses[2], losses[5]) < 1e-6 * np.sort(losses)[1]


def test_losses_of_all_readers_count() -> None:
    x, weights, owner = layer(4)
    one = Reader(x.T @ x / ROWS, weights[:, :1], owner, UNITS), Reader(x.T @ x / ROWS, weights[:, 1:], owner, UNITS)
    both = Reader(x.T @ x / ROWS, weights, owner, UNITS)
    np.testing.assert_allclose(removal_losses(one, UNITS), removal_losses([both], UNITS), rtol=1e-9)


def test_inputs_of_nobody_stay_and_help() -> None:
    x, weights, owner = layer(5)
    owner = np.where(owner == 3, -1, owner)
    reader = Reader(x.T @ x / ROWS, weights, owner, UNITS)
    assert reader.losses([3]) == [0.0]
    np.testing.assert_allclose(reader.losses([1]), [refitted(x, weights, owner != 1)], rtol=1e-6)


def test_many_units_leave_several_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(obs, "_MOST_STEPS", 2)
    x, weights, owner = layer(6)
    reader = Reader(x.T @ x / ROWS, weights, owner, UNITS)
    alone = reader.losses(range(UNITS))
    losses = removal_losses([reader], UNITS)
    assert set(np.argsort(losses)[:3]) == set(np.argsort(alone)[:3])
    assert len(set(losses)) == UNITS


def test_no_more_than_asked_leave() -> None:
    """The order of those that go is the same; the others have what each would add next."""
    x, weights, owner = layer(2)
    gram = x.T @ x / ROWS
    whole = removal_losses([Reader(gram, weights, owner, UNITS)], UNITS)
    reader = Reader(gram, weights, owner, UNITS)
    some = removal_losses([reader], UNITS, 2)
    gone = np.argsort(whole)[:2]
    np.testing.assert_array_equal(np.argsort(some)[:2], gone)
    np.testing.assert_allclose(some[gone], whole[gone])
    left = [unit for unit in range(UNITS) if unit not in gone]
    np.testing.assert_allclose(some[left], np.maximum(reader.losses(left), whole[gone].max()))


def test_units_of_one_input_each() -> None:
    x, weights, _ = layer(7)
    owner = np.random.default_rng(0).permutation(UNITS * EACH)
    reader = Reader(x.T @ x / ROWS, weights, owner, UNITS * EACH)
    reader.remove([3, 11])
    left = [unit for unit in range(UNITS * EACH) if unit not in (3, 11)]
    before = refitted(x, weights, ~np.isin(owner, [3, 11]))
    expected = [refitted(x, weights, ~np.isin(owner, [3, 11, unit])) - before for unit in left]
    np.testing.assert_allclose(reader.losses(left), expected, rtol=1e-5)
