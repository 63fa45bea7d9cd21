"""Networks cut in every way: no node twice, and each segment finds what it reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx
import pytest

from graphprune.analysis.blocks import find_joins
from graphprune.analysis.dataflow import DataFlow
from graphprune.ir.loading import load
from graphprune.ir.model import Model
from graphprune.runtime.sessions import RuntimeOptions
from graphprune.segments.cuts import as_named, at_blocks, at_layers, at_stops
from graphprune.segments.partition import Part, Segment, partition
from graphprune.segments.runner import SessionChain
from tests.graphs import assert_same, random_feeds, residual_mlp, run
from tests.small_cnns import flattened, grouped

NETWORKS = [flattened, grouped, lambda: residual_mlp(3), lambda: residual_mlp(3, mask=True)]


def by_blocks(model: Model) -> list[Part]:
    return at_blocks(model.derived(DataFlow), [join.block for join in find_joins(model) if join.block])


def by_layers(model: Model) -> list[Part]:
    return at_layers(model.derived(DataFlow))


def by_stops(model: Model) -> list[Part]:
    flow = model.derived(DataFlow)
    made = [list(flow.producer)[index] for index in (2, 5)]
    return at_stops(flow, [*([tensor] for tensor in made), sorted(flow.outputs)], [])


def by_names(model: Model) -> list[Part]:
    names = list(model.derived(DataFlow).nodes)
    return as_named(model.derived(DataFlow), [names[:2], ["nowhere"], names[2:4], []])


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("cut", [by_blocks, by_layers, by_stops, by_names])
def test_segments_run_in_turn_compute_the_network(
    make: Callable[[], onnx.ModelProto], cut: Callable[[Model], Sequence[Part]]
) -> None:
    proto = make()
    model = load(proto)
    flow = model.derived(DataFlow)
    segments = partition(flow, cut(model), flow.outputs)
    held = [name for segment in segments for name in segment.nodes]
    assert len(held) == len(set(held))
    feeds = random_feeds(proto, 3)
    known = set(feeds)
    for segment in segments:
        assert set(segment.reads) <= known
        known |= set(segment.writes)
    values, _ = SessionChain.of(model, segments, RuntimeOptions(threads=1)).run(feeds)
    assert_same([values[output.name].numpy() for output in proto.graph.output], run(proto, feeds), 1e-4)


def test_only_what_others_need_leaves_a_segment() -> None:
    flow = load(residual_mlp(2)).derived(DataFlow)
    names = list(flow.nodes)
    first, second = partition(flow, [Part(tuple(names[:3])), Part(tuple(names[3:]))], ["y"])
    inner = {tensor.name for name in names[:3] for tensor in flow.nodes[name].outputs}
    assert set(first.writes) == {tensor for name in names[3:] for tensor in flow.data_reads(name)} & inner
    assert second.writes == ("y",)
    assert set(first.writes) <= set(second.reads)


def test_nodes_in_no_part_read_nothing() -> None:
    """What they would read is not written for them, and what they write must be handed in."""
    flow = load(residual_mlp(2)).derived(DataFlow)
    names = list(flow.nodes)
    (segment,) = partition(flow, [Part(tuple(names[:3]))], [])
    assert segment == Segment(tuple(names[:3]), None, ("x",), ())
