"""Prices of units where layers share a constant: the first unit costs a copy, the next ones save what they weigh."""

from __future__ import annotations

import numpy as np

from graphprune.analysis.cost import Cost
from graphprune.analysis.model_analysis import analyse
from graphprune.ir.loading import load
from graphprune.runtime.sessions import RuntimeOptions
from tests.graphs import build, random_feeds

PROTO = build(
    """(float[N,4] x) => (float[N,3] y) { [a] a = MatMul(x, w1) b = Add(a, o) c = Relu(b) [d] d = MatMul(c, w2)
    e = Add(d, o) f = Relu(e) [g] g = MatMul(f, w3) h = Relu(g) [last] y = MatMul(h, w4) }""",
    {"w1": (4, 9), "o": np.zeros(9, np.float32), "w2": (9, 9), "w3": (9, 5), "w4": (5, 3)},
)


def test_a_copy_is_paid_for_once() -> None:
    analysis = analyse(load(PROTO), random_feeds(PROTO), RuntimeOptions(threads=1))
    cost = analysis.typed_cost()
    atoms = {group.writers[0]: group.atom for group in analysis.groups if group.is_prunable}
    macs = 2 * (4 + 9)
    assert cost.saving(atoms["a"], 8) == Cost(macs, 4 + 9 - 8)
    assert cost.unit_saving(atoms["a"]) == Cost(macs, 4 + 9 + 1)
    assert cost.unit_saving(atoms["g"]) == cost.saving(atoms["g"], 4) == Cost(2 * (9 + 3), 9 + 3)
    assert [cost.needs_copy(atoms[name]) for name in "adg"] == [True, True, False]
    assert cost.cost == analysis.typed_cost().cost
