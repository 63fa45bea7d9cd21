"""Groups in bodies: passes that look at weights cut them, those that look at activations leave them and say so."""

from __future__ import annotations

import numpy as np
import pytest

from graphprune import RecoveryOptions, RunOptions, RuntimeOptions, TimingOptions, prune
from graphprune.errors import NothingToPrune
from tests.graphs import build

FAST = RunOptions(
    runtime=RuntimeOptions(threads=1),
    timing=TimingOptions(seconds=0.01, allow_slower=True),
    recovery=RecoveryOptions(repair=()),
)
BOTH = """(float[N, 4] x, bool c) => (float[N, 4] y) {
    [out] a = MatMul(x, w1) b = Relu(a) [read] d = MatMul(b, w2) z = If(c) <
    then_branch = yes () => (float[N, 4] t) { [one] a1 = MatMul(x, v1) b1 = Relu(a1) [two] t = MatMul(b1, v2) },
    else_branch = no () => (float[N, 4] e) { e = Neg(x) }> y = Add(d, z) }"""
WEIGHTS = {"w1": (4, 8), "w2": (8, 4), "v1": (4, 6), "v2": (6, 4)}
FEEDS = {"x": np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32), "c": np.array(False)}
WHY = "they lie in the body of an If, Loop or Scan, where no activations can be read"


def test_weights_alone_reach_into_bodies() -> None:
    result = prune(build(BOTH, WEIGHTS), ["filter-magnitude{scope=group}"], FEEDS, "flops=0.5", options=FAST)
    (decision,) = result.plan.decisions
    assert sorted(units.group for units in decision.units) == ["one/neurons", "out/neurons"]
    assert result.validation is not None


def test_activations_do_not() -> None:
    result = prune(build(BOTH, WEIGHTS), ["neuron-projection"], FEEDS, "removed=3", options=FAST)
    (decision,) = result.plan.decisions
    assert [units.group for units in decision.units] == ["out/neurons"]
    assert f"left whole, for {WHY}: one/neurons" in decision.notes


def test_nothing_else_is_there() -> None:
    with pytest.raises(NothingToPrune, match=WHY):
        prune(build(BOTH, WEIGHTS), ["neuron-projection{include=one*}"], FEEDS, "removed=3", options=FAST)
