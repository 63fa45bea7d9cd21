"""``filter-cka``: CKA between what the last layer reads with and without each unit."""

from __future__ import annotations

import numpy as np
import pytest

from graphprune.errors import DataError
from graphprune.importance.similarity import linear_cka
from tests.graphs import build
from tests.passes.asking import decided, inner, scores
from tests.passes.test_filter_kl import images, zeroed


def test_filter_cka_asks_how_alike_the_representations_are() -> None:
    """Of what the last layer reads, before its positions are pooled away."""
    proto = build(
        """(float[N,3,6,6] x) => (float[N,4] y) {
        [one] a = Conv(x, w0) b = Sigmoid(a) [two] c = Conv(b, w1) d = Relu(c)
        e = GlobalAveragePool(d) f = Flatten(e) [head] y = MatMul(f, w2)
        }""",
        {"w0": (5, 3, 3, 3), "w1": (6, 5, 3, 3), "w2": (6, 4)},
    )
    found = scores(decided(proto, "filter-cka{scope=group}", images(), "ratio=0.4"))["one/filters"]
    dense = inner(proto, images(), "f")[0]
    without = [inner(zeroed(proto, {"w1": (slice(None), unit)}), images(), "f")[0] for unit in range(5)]
    np.testing.assert_allclose(found, [1 - linear_cka(dense, each) for each in without], rtol=1e-3, atol=1e-7)
    with pytest.raises(DataError, match="2 rows, 3 are needed"):
        decided(proto, "filter-cka", images(2), "ratio=0.4")
