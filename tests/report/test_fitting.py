"""Names in tables: whole where they fit, cut in the middle where they do not, and never taken for another."""

from __future__ import annotations

import graphprune
from graphprune.report.fitting import fitted, room_for_names
from tests.graphs import random_feeds, residual_mlp


def test_what_does_not_fit_is_cut_in_the_middle() -> None:
    names = ["encoder.layer.0.intermediate.dense/neurons", "short"]
    cut, short = fitted(names, 20)
    assert short == "short"
    assert len(cut) == 20
    assert cut.startswith("enco")
    assert cut.endswith("neurons")


def test_two_names_never_become_one() -> None:
    names = [f"encoder.{middle}.much.further.down.in.the.network" for middle in ("one", "two")]
    assert fitted(names, 24) == names


def test_numbers_come_first_and_names_keep_a_least_width() -> None:
    assert room_for_names(80, [("units", "12"), ("MACs", "-590k")]) == 80 - 8 - 8
    assert room_for_names(20, [("units", "12,000,000,000")]) == 16


def test_the_result_breaks_no_name() -> None:
    """At 80 columns, whatever a module is called."""
    proto = residual_mlp(3)
    for node in proto.graph.node:
        node.name = f"a_model_of_models.with_a_long_way.down.to.each.of.its.layers.{node.name}"
    options = graphprune.RunOptions(timing=graphprune.TimingOptions(measure_latency=False))
    for name, goal in (("filter-magnitude", "flops=0.7"), ("layer-magnitude", "removed=1")):
        result = graphprune.prune(proto, name, random_feeds(proto, 16), goal, options=options)
        lines = result.summary().splitlines()
        assert max(map(len, lines)) <= 80
        rows = [line for line in lines if line.startswith("a_mod")]
        assert rows
        assert all(any(letter.isdigit() for letter in line.split()[-1]) for line in rows), (
            "a name goes on in a second line"
        )
