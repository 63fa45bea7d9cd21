"""The check of the zoo: where rounding is blown up double precision decides, and a wrong cut still fails."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from graphprune.analysis.model_analysis import ModelAnalysis
from graphprune.analysis.sizes import concrete_sizes
from graphprune.ir.loading import load
from graphprune.ir.model import Model
from graphprune.runtime.sessions import RuntimeOptions
from tests.graphs import build
from tests.zoo import survey as checks
from tests.zoo.survey import survey

_RANDOM = np.random.default_rng(0)
_W1 = _RANDOM.standard_normal((6, 333)).astype(np.float32)
NOISY = build(
    "(float[N,6] x) => (float[N,1] y) "
    "{ h = MatMul(x, w1) g = Mul(h, almost_one) a = ReduceSum(h, axis) b = ReduceSum(g, axis) y = Sub(a, b) }",
    {"w1": _W1, "almost_one": np.array([1 + 3e-7], np.float32), "axis": np.array([1])},  # rounding is what is left
)
FEED = {"x": _RANDOM.standard_normal((4, 6)).astype(np.float32)}


def test_rounding_is_told_from_a_wrong_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    found = survey(NOISY, FEED)
    assert found.in_double > 0
    assert not found.failures

    cut = vars(checks)["remove_units"]

    def wrong(*given: Any) -> Model:
        small: Model = cut(*given)
        weights = next(tensor for tensor in small.graph.tensors().values() if tensor.name == "w1")
        weights.values = weights.values * np.float32(1.5)
        return small

    monkeypatch.setattr(checks, "remove_units", wrong)
    assert survey(NOISY, FEED).failures


def test_as_many_stay_as_a_group_can_do_with() -> None:
    """Of three experts of which each token goes to two, one goes."""
    model = load(NOISY)
    (group, *_) = ModelAnalysis(model, concrete_sizes(model, FEED, RuntimeOptions()), {"x": (4, 6)}).groups
    experts = replace(group, size=3, least=2)
    plans = dict(checks.unit_plans([experts], np.random.default_rng(0)))
    assert {label: int(kept[group.atom].sum()) for label, kept in plans.items()} == dict.fromkeys(plans, 2)
