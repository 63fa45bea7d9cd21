"""All pairs at once are the pairs one by one."""

from __future__ import annotations

import numpy as np

from graphprune.importance.pairwise import pairwise_cka
from graphprune.importance.similarity import linear_cka


def test_every_pair_is_linear_cka() -> None:
    random = np.random.default_rng(0)
    base = random.standard_normal((40, 6))
    features = [base, base @ random.standard_normal((6, 9)) + 100, random.standard_normal((40, 70)), np.abs(base)]
    found = pairwise_cka(features)
    expected = [[linear_cka(x, y) for y in features] for x in features]
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert np.ptp(expected) > 0.5


def test_constant_features_are_like_nothing() -> None:
    random = np.random.default_rng(1)
    found = pairwise_cka([np.full((10, 3), 1e6), random.standard_normal((10, 4))])
    np.testing.assert_allclose(found, [[0, 0], [0, 1]], atol=1e-6)
