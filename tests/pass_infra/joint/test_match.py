"""Filters matched in number: the paper's shares, the top-up, and the exit that the authors' loop lacks."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from graphprune.analysis.model_analysis import ModelAnalysis, analyse
from graphprune.ir.loading import load
from graphprune.pass_infra.joint.match import filter_count, filters_per_unit, matched_units
from graphprune.plan.selection import Candidate
from graphprune.runtime.sessions import RuntimeOptions
from tests.graphs import build, random_feeds
from tests.small_cnns import flattened


def seen(proto: onnx.ModelProto) -> ModelAnalysis:
    return analyse(load(proto), random_feeds(proto), RuntimeOptions(threads=1))


def chain(*widths: int) -> ModelAnalysis:
    """Convolutions in a row, of so many filters each."""
    names = ["x", *(f"t{i}" for i in range(len(widths))), "y"]
    sizes = (3, *widths, 2)
    lines = [f"[c{i}] {names[i + 1]} = Conv({names[i]}, w{i})" for i in range(len(widths) + 1)]
    shapes = {f"w{i}": (sizes[i + 1], sizes[i], 1, 1) for i in range(len(widths) + 1)}
    return seen(build(f"(float[N,3,4,4] x) => (float[N,2,4,4] y) {{ {' '.join(lines)} }}", shapes))


def counts(widths: tuple[int, ...], wanted: int, share: float, seed: int = 0, align: int = 1) -> list[int] | None:
    groups = [group for group in chain(*widths).groups if group.is_prunable]
    assert [group.size for group in groups] == list(widths)
    candidates = [Candidate(group, np.arange(group.size)[::-1].astype(float), 1, align) for group in groups]
    found = matched_units(candidates, [1] * len(widths), wanted, share, np.random.default_rng(seed))
    if found is None:
        return None
    for group in groups:  # the lowest scores, which are the last indices, go
        gone = found.get(group.atom, np.array([], int))
        np.testing.assert_array_equal(gone, np.arange(group.size - len(gone), group.size))
    return [len(found.get(group.atom, ())) for group in groups]


def test_shares_of_each_layer_and_a_random_rest() -> None:
    """round(0.25 n) of each, and four more from layers drawn by the seed."""
    several = [counts((4, 8, 12, 16), 14, 0.25, seed) for seed in range(8)]
    for found in several:
        assert found is not None and sum(found) == 14
        assert all(count >= least for count, least in zip(found, (1, 2, 3, 4), strict=True))
    assert len(set(map(str, several))) > 1
    assert several[0] == counts((4, 8, 12, 16), 14, 0.25, 0)


def test_ends_where_rounding_has_taken_more() -> None:
    """round(0.3 x 5) = 2 of each of four layers are eight, where six were wanted."""
    assert counts((5, 5, 5, 5), 6, 0.3) == [2, 2, 2, 2]


def test_one_filter_of_each_layer_stays() -> None:
    assert counts((4, 8), 10, 0.9) == [3, 7]
    assert counts((4, 8), 11, 0.9) is None


def test_kept_counts_stay_multiples() -> None:
    for seed in range(4):
        found = counts((16, 32), 20, 0.3, seed, align=4)
        assert found is not None and sum(found) == 20 and not any(count % 4 for count in found)


def test_filters_are_those_of_all_convolutions() -> None:
    analysis = chain(4, 8)
    assert filter_count(analysis.model) == 4 + 8 + 2
    assert filter_count(analysis.model, ["c1"]) == 8


def test_depthwise_filters_leave_too() -> None:
    analysis = seen(flattened())
    per_unit = {group.name: filters_per_unit(analysis.model, group) for group in analysis.groups if group.is_prunable}
    assert per_unit == {"c1/filters": 2, "c3/filters": 1, "fc1/neurons": 0}


def test_transposed_convolutions_count_their_outputs() -> None:
    proto = build(
        "(float[N,4,4,4] x) => (float[N,5,4,4] y) { [up] z = ConvTranspose<group = 2>(x, w) [c] y = Conv(z, v) }",
        {"w": (4, 3, 1, 1), "v": (5, 6, 1, 1)},
    )
    assert filter_count(load(proto)) == 6 + 5


@pytest.mark.parametrize("wanted", [1, 5, 9])
def test_never_fewer_than_wanted(wanted: int) -> None:
    found = counts((6, 6, 6), wanted, wanted / 20)
    assert found is not None and wanted <= sum(found) <= wanted + 3
