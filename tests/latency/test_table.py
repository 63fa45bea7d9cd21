"""The measured table: segments that cover a network, times shared by equal layers, and what the cache spares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from graphprune import RuntimeOptions
from graphprune.analysis.model_analysis import ModelAnalysis
from graphprune.axes.algebra import Atom
from graphprune.ir.model import Model
from graphprune.latency import table as table_room
from graphprune.latency.layers import atoms_in, layer_segments, segments_left, signature
from graphprune.latency.table import CostTable, LatencyProfiler, SegmentCost, colours, smoothed, thinned
from graphprune.measure.times_cache import Cache
from graphprune.rewrite import remove_units
from graphprune.run.loaded import prepare
from graphprune.run.options import RunOptions
from graphprune.runtime.sessions import Feeds
from graphprune.segments.partition import Segment
from tests.graphs import residual_mlp
from tests.small_cnns import flattened, grouped
from tests.zoo.export import export

ONE = RuntimeOptions(threads=1)


def silent(task: str, done: int, total: int, /) -> None:
    """Nothing shown."""


def looked_at(proto: onnx.ModelProto) -> tuple[ModelAnalysis, Feeds]:
    subject = prepare(proto, None, RunOptions(runtime=ONE))
    return subject.analysis, subject.feeds


@pytest.mark.parametrize("make", [flattened, grouped, lambda: residual_mlp(3)])
def test_segments_hold_every_node_once_and_fit_together(make: Callable[[], onnx.ModelProto]) -> None:
    analysis, _ = looked_at(make())
    segments = layer_segments(analysis.flow)
    held = [name for segment in segments for name in segment.nodes]
    assert sorted(held) == sorted(node.name for node in analysis.model.graph.nodes)
    known = {tensor.name for tensor in analysis.model.graph.inputs}
    for segment in segments:
        assert set(segment.reads) <= known  # all that enters was written by earlier ones
        known |= set(segment.writes)
    assert {tensor.name for tensor in analysis.model.graph.outputs} <= known


def test_equal_layers_share_a_signature_and_a_width_changes_it() -> None:
    analysis, feeds = looked_at(residual_mlp(4))
    seen: dict[str, list[str]] = {}
    values = {n: np.zeros(s, np.float32) for n, s in analysis.sizes.items()} | feeds
    for segment in layer_segments(analysis.flow):
        seen.setdefault(signature(analysis.model, segment, values), []).append(segment.nodes[0])
    assert max(map(len, seen.values())) >= 3
    other, _ = looked_at(residual_mlp(4))
    segment = layer_segments(other.flow)[-1]
    wider = {name: np.zeros((7, *array.shape[1:]), array.dtype) for name, array in values.items()}
    assert signature(other.model, segment, wider) not in seen


def test_table_times_widths_and_the_cache_spares_the_second_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    analysis, feeds = looked_at(flattened())
    free = [group for group in analysis.groups if group.is_prunable]
    levels = {group.atom: [group.size - 2, 2] for group in free}
    timed: list[int] = []

    def fake(models: Sequence[tuple[onnx.ModelProto, Feeds]], *_: object) -> list[float]:
        """A runtime whose time is the number of parameters."""
        timed.append(len(models))
        return [1.0 + sum(float(np.prod(t.dims)) for t in model.graph.initializer) for model, _ in models]

    monkeypatch.setattr(table_room, "times_ms", fake)
    monkeypatch.setattr(table_room, "overhead_ms", lambda *_: 0.5)
    cache = Cache(tmp_path, {"model": "m"})
    table = LatencyProfiler(feeds, ONE, cache, silent).table(analysis, levels, {})
    assert sum(timed) == len(cache.times_ms)
    assert table.share({}) == pytest.approx(1.0)
    for group in free:
        shares = [table.share({group.atom: count}) for count in (group.size, group.size - 2, 2)]
        assert shares == sorted(shares, reverse=True)
        assert shares[0] > shares[-1]
        between = table.share({group.atom: group.size - 1})
        assert shares[1] < between < shares[0]
        assert table.group_share(group.atom, 2, {}) < table.group_share(group.atom, group.size, {})
    both = {group.atom: 2 for group in free}
    assert table.share(both) < min(table.share({group.atom: 2}) for group in free)
    before = len(timed)
    again = LatencyProfiler(feeds, ONE, Cache(tmp_path, {"model": "m"}), silent).table(analysis, levels, {})
    assert len(timed) == before
    assert again.share(both) == pytest.approx(table.share(both))


def test_a_cut_may_make_constants_of_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Halves of a tensor as torch's older exporter writes them: by the shape, which is fixed when it is cut."""
    path, _ = export("shufflenet_v2", "torchscript", tmp_path)
    analysis, feeds = looked_at(onnx.load(path))
    whole = {node.name for node in analysis.model.graph.nodes}
    levels = {group.atom: [max(1, group.size // 2)] for group in analysis.groups if group.is_prunable}
    gone: set[str] = set()

    def watched(model: Model, segments: Sequence[Segment]) -> list[Segment]:
        gone.update(whole - {node.name for node in model.graph.nodes})
        return segments_left(model, segments)

    monkeypatch.setattr(table_room, "segments_left", watched)
    monkeypatch.setattr(table_room, "times_ms", lambda models, *_: [1.0] * len(models))
    monkeypatch.setattr(table_room, "overhead_ms", lambda *_: 0.5)
    table = LatencyProfiler(feeds, ONE, Cache(None, {}), silent).table(analysis, levels, {})
    assert any("Shape" in name for name in gone)
    assert table.share({}) == pytest.approx(1.0)


def test_real_times_are_positive_and_blocks_have_a_share() -> None:
    analysis, feeds = looked_at(residual_mlp(3))
    table = LatencyProfiler(feeds, ONE, Cache(None, {}), silent).table(analysis, {}, {})
    assert all(cost.ms > 0 for cost in table.costs)
    block = next(join.block for join in analysis.joins if join.block)
    assert 0 < table.without(block.nodes) < 1
    assert table.without([node.name for node in analysis.model.graph.nodes]) == pytest.approx(0.0)


def test_atoms_of_one_segment_are_not_cut_together() -> None:
    a, b, c = (Atom(8) for _ in range(3))
    levels = {atom: [4] for atom in (a, b, c)}
    sets = colours(levels, [frozenset({a, b}), frozenset({b, c})])
    assert sorted(map(len, sets)) == [1, 2]
    assert not any(b in each and len(each) > 1 for each in sets)
    analysis, _ = looked_at(flattened())
    inside = atoms_in(analysis.model, analysis.typing, layer_segments(analysis.flow))
    assert any(len(atoms) > 1 for atoms in inside)


def test_few_levels_are_even_and_reach_the_lowest() -> None:
    atom, small = Atom(32), Atom(4)
    levels = {atom: [28, 24, 20, 16, 12, 8, 4], small: [2]}
    assert thinned(levels, 0) == thinned(levels, 1) == {atom: [4], small: [2]}
    assert thinned(levels, 3) == {atom: [28, 16, 4], small: [2]}
    assert thinned(levels, 99) == levels


def test_a_network_with_many_groups_is_rewritten_a_limited_number_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every narrower network costs a rewrite and a run; without the limit a DenseNet took hours."""
    analysis, feeds = looked_at(flattened())
    levels = {group.atom: list(range(group.size - 1, 0, -1)) for group in analysis.groups if group.is_prunable}
    rewrites = []

    def counted(*arguments: Any) -> Any:
        rewrites.append(arguments)
        return remove_units(*arguments)

    monkeypatch.setattr(table_room, "remove_units", counted)
    monkeypatch.setattr(table_room, "times_ms", lambda models, *_: [1.0] * len(models))
    LatencyProfiler(feeds, ONE, Cache(None, {}), silent).table(analysis, levels, {})
    assert len(rewrites) > 12
    rewrites.clear()
    monkeypatch.setattr(table_room, "_MOST_REWRITES", 12)
    table = LatencyProfiler(feeds, ONE, Cache(None, {}), silent).table(analysis, levels, {})
    assert 0 < len(rewrites) <= 12
    for atom, counts in levels.items():
        assert all(counts[-1] in cost.curves[atom][0] for cost in table.costs if atom in cost.curves)


def test_noise_between_even_widths_is_smoothed_and_odd_ones_stay() -> None:
    counts, shares = smoothed({8: 0.3, 12: 0.9, 16: 0.52, 24: 0.48, 32: 1.0}, 8)
    assert counts == [8, 12, 16, 24, 32]
    assert shares == pytest.approx([0.3, 0.9, 0.5, 0.5, 1.0])


def test_a_segment_shrunk_from_both_ends_takes_the_product() -> None:
    a, b = Atom(8), Atom(8)
    cost = SegmentCost(
        layer_segments(looked_at(flattened())[0].flow)[1], 2.0, {a: ([4, 8], [0.5, 1.0]), b: ([4, 8], [0.6, 1.0])}
    )
    assert cost.at({a: 4, b: 4}) == pytest.approx(0.6)
    assert CostTable([cost]).share({a: 6}) == pytest.approx(0.75)
