"""Two networks timed part by part."""

from __future__ import annotations

import pytest

from graphprune.analysis.blocks import find_joins
from graphprune.analysis.dataflow import DataFlow
from graphprune.ir.loading import load
from graphprune.rewrite import remove_blocks
from graphprune.runtime.sessions import Feeds, RuntimeOptions
from graphprune.segments.cuts import at_blocks
from graphprune.segments.runner import Environment, SessionChain
from graphprune.segments.timer import SegmentTimer
from tests.graphs import random_feeds, residual_mlp

OPTIONS = RuntimeOptions(threads=1)


def test_both_run_in_turn_and_what_is_gone_takes_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    proto = residual_mlp(3)
    model = load(proto)
    blocks = [join.block for join in find_joins(model) if join.block]
    cut = at_blocks(model.derived(DataFlow), blocks)
    parts = [part.nodes for part in cut]
    timer = SegmentTimer(model, remove_blocks(model, blocks[1:2]), parts, OPTIONS)
    order: list[int] = []
    kept = SessionChain.run

    def noted(self: SessionChain, feeds: Feeds) -> tuple[Environment, list[float]]:
        order.append(timer.chains.index(self))
        return kept(self, feeds)

    monkeypatch.setattr(SessionChain, "run", noted)
    times = timer.measure(random_feeds(proto))
    assert len(times.first_ms) == len(times.second_ms) == len(parts)
    assert min(times.first_ms) > 0
    assert [ms == 0 for ms in times.second_ms] == [part.block is blocks[1] for part in cut]
    assert 10 <= times.passes <= 200
    assert order == [0, 1] * (3 + times.passes)  # three to warm up
