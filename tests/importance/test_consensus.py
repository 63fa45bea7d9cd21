"""Ranks: worked out by hand, and whatever the order in which candidates are listed."""

from __future__ import annotations

import numpy as np

from graphprune.importance.consensus import ranks


def test_ranks_of_a_small_example() -> None:
    """Equal distances do not share a rank: the block nearer to the input comes first."""
    distances = [np.array([0.3, 0.1, 0.1, 0.2]), np.array([5.0, 5.0, np.inf, 1.0])]
    assert ranks(distances, np.arange(4)).tolist() == [[4, 1, 2, 3], [2, 3, 4, 1]]


def test_ranks_follow_the_candidates_when_these_are_shuffled() -> None:
    """The authors' code loses the link between scores and blocks; ties are where a sort by list position would show."""
    generator = np.random.default_rng(0)
    distances = [generator.integers(0, 4, 12) / 4 for _ in range(3)]
    depths = np.arange(12)
    expected = ranks(distances, depths)
    for _ in range(20):
        order = generator.permutation(12)
        shuffled = ranks([values[order] for values in distances], depths[order])
        assert (shuffled == expected[:, order]).all()
