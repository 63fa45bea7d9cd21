"""``filter-ticket``: figures of single filters, and as many of them as blocks have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from graphprune.errors import DataError, OptionError
from graphprune.ir.export import to_proto
from graphprune.ir.loading import load
from graphprune.report.result import Result
from graphprune.rewrite.initialise import initialise
from tests.graphs import residual_mlp
from tests.passes.asking import counts, decided, scores
from tests.passes.tickets import by_hand, images, resnet, samples


@pytest.mark.parametrize("kind", ["snip", "grasp"])
def test_filters_have_the_figures_of_finite_differences(kind: str) -> None:
    proto, data, figures = residual_mlp(3, 5), samples(), by_hand(kind)
    pooled: dict[str, Callable[..., Any]] = {"sum": np.sum, "mean": np.mean}
    for pool, how in pooled.items():
        filters = decided(proto, f"filter-ticket{{criterion={kind},pool={pool},scope=group}}", data, "ratio=0.3")
        for i, values in enumerate(scores(filters).values()):
            np.testing.assert_allclose(values, how(figures[f"a{i}"], axis=0), rtol=2e-3, atol=5e-5)


def test_as_many_filters_as_the_blocks_have() -> None:
    """A block has 12 + 8 filters; each of the units is one."""
    proto, data = to_proto(initialise(load(resnet()), 0).model), images()
    for criterion in ("snip", "grasp"):
        result = decided(proto, f"filter-ticket{{layers=1,criterion={criterion}}}", data, align="auto")
        assert sum(counts(result).values()) == 20
        assert result.plan.asked == "rule"
        assert "20 filters go; the 1 blocks of layer-ticket have 20" in result.notes
    most = decided(proto, "filter-ticket{layers=1,floor=0.7}", data)
    assert sum(counts(most).values()) == 9
    assert "9 filters go; the 1 blocks of layer-ticket have 20" in most.notes


def test_units_of_one_and_of_two_filters() -> None:
    """As near as whole units come: a depthwise filter goes with the one that it reads."""
    proto, data = resnet(is_mixed=True), images()

    def gone(result: Result) -> int:
        return sum((2 if name.startswith(("c0", "c1")) else 1) * count for name, count in counts(result).items())

    found = decided(proto, "filter-ticket{layers=1,floor=0}", data)
    (told,) = [note for note in found.notes if "filters go" in note]
    wanted = int(told.split()[-1])
    assert wanted in (20, 32)
    others = [decided(proto, "filter-ticket{floor=0}", data, f"removed={units}") for units in range(10, 33)]
    assert abs(gone(found) - wanted) == min(abs(gone(each) - wanted) for each in others)
    assert told.startswith(f"{gone(found)} filters go")


def test_refuses_what_it_cannot_work_with() -> None:
    with pytest.raises(DataError, match="has no labels, and an untrained network cannot stand in for them"):
        decided(resnet(), "filter-ticket", {"x": images()["x"]}, "removed=1")
    with pytest.raises(OptionError, match=r"takes as much as layer-ticket, not flops=0\.5"):
        decided(resnet(), "filter-ticket{layers=1}", images(), "flops=0.5")
    with pytest.raises(OptionError, match="layer-ticket cannot take 2 blocks"):
        decided(resnet(), "filter-ticket{layers=2}", images())
