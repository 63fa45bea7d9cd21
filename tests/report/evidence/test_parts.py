"""The network as a row of parts."""

from __future__ import annotations

import onnx
import pytest

from graphprune.analysis.dataflow import DataFlow
from graphprune.analysis.model_analysis import analyse
from graphprune.pipeline.prune import prune
from graphprune.report.evidence.parts import model_parts
from graphprune.report.evidence.strip import gather_strip
from graphprune.run.loaded import LoadedRun, prepare
from graphprune.run.options import RecoveryOptions, RunOptions, TimingOptions
from graphprune.runtime.sessions import RuntimeOptions
from graphprune.segments.timer import chain_of
from tests import small_cnns
from tests.graphs import assert_same, build, random_feeds, residual_mlp, run
from tests.zoo.light import light

OPTIONS = RuntimeOptions(threads=1)


def with_projection() -> onnx.ModelProto:
    """A stem, a block with a projection, a removable block, and two dense layers."""
    text = """(float[N,3,8,8] x) => (float[N,4] y) {
        [stem] a = Conv<pads = [1, 1, 1, 1]>(x, w1) [r0] a1 = Relu(a)
        [c1] b = Conv<pads = [1, 1, 1, 1], strides = [2, 2]>(a1, w2) [r1] b1 = Relu(b)
        [c2] c = Conv<pads = [1, 1, 1, 1]>(b1, w3) [short] s = Conv<strides = [2, 2]>(a1, w4)
        [join1] d = Add(c, s) [r2] d1 = Relu(d)
        [c3] e = Conv<pads = [1, 1, 1, 1]>(d1, w5) [join2] f = Add(e, d1)
        [pool] g = GlobalAveragePool(f) [flat] h = Flatten(g) [fc1] i = Gemm(h, w6) [r3] j = Relu(i)
        [fc2] y = Gemm(j, w7) }"""
    return build(
        text,
        {
            "w1": (4, 3, 3, 3),
            "w2": (8, 4, 3, 3),
            "w3": (8, 8, 3, 3),
            "w4": (8, 4, 1, 1),
            "w5": (8, 8, 3, 3),
            "w6": (8, 6),
            "w7": (6, 4),
        },
    )


def subject_of(proto: onnx.ModelProto) -> LoadedRun:
    return prepare(proto, random_feeds(proto, 8), RunOptions(runtime=OPTIONS))


def test_blocks_refused_blocks_and_layers_are_parts() -> None:
    found = model_parts(subject_of(with_projection()).analysis)
    assert [set(part.nodes) for part in found] == [
        {"stem", "r0"},
        {"c1", "r1", "c2", "short", "join1", "r2"},
        {"c3", "join2"},
        {"pool", "flat", "fc1", "r3"},
        {"fc2"},
    ]
    assert [part.join for part in found] == ["", "", "join2", "", ""]
    refusal = found[1].refusal
    assert refusal is not None and refusal.rule == "projection-shortcut"


@pytest.mark.parametrize(
    "make", [with_projection, small_cnns.flattened, small_cnns.grouped, lambda: residual_mlp(3, mask=True)]
)
def test_parts_run_in_turn_compute_the_model(make) -> None:  # type: ignore[no-untyped-def]
    proto = make()
    subject = subject_of(proto)
    parts = [part.nodes for part in model_parts(subject.analysis)]
    nodes = [name for part in parts for name in part]
    assert sorted(nodes) == sorted(DataFlow(subject.model).nodes)
    feeds = random_feeds(proto, 3)
    values, _ = chain_of(subject.model, parts, OPTIONS).run(feeds)
    name = proto.graph.output[0].name
    assert_same([values[name].numpy()], run(proto, feeds), 1e-4)


@pytest.mark.parametrize("name", ["squeezenet", "shufflenet"])
def test_networks_of_others_fall_into_parts(name: str) -> None:
    proto, feed = light(name)
    subject = prepare(proto, feed, RunOptions(runtime=OPTIONS))
    found = model_parts(subject.analysis)
    assert 10 < len(found) < 80
    assert sorted(node for part in found for node in part.nodes) == sorted(DataFlow(subject.model).nodes)
    values, _ = chain_of(subject.model, [part.nodes for part in found], OPTIONS).run(subject.feeds)
    output = proto.graph.output[0].name
    assert_same([values[output].numpy()], run(proto, subject.feeds), 1e-4)


def test_what_went_takes_no_time_and_the_rest_stays_in_place() -> None:
    proto = residual_mlp(4)
    subject = subject_of(proto)
    result = prune(
        proto,
        ["layer-cka"],
        random_feeds(proto, 16),
        "removed=2",
        options=RunOptions(
            timing=TimingOptions(measure_latency=False), recovery=RecoveryOptions(repair=()), runtime=OPTIONS
        ),
    )
    assert result.model is not None
    small = analyse(result.model, subject.feeds, OPTIONS)
    strip = gather_strip(subject, model_parts(subject.analysis), small, RunOptions(runtime=OPTIONS), 0.5)
    gone = {block.name for block in result.plan.blocks}
    for part in strip.parts:
        assert (part.state == "removed") == (part.name in gone)
        assert (part.ms_after == 0) == (part.name in gone)
        assert part.ms_before is not None and part.ms_before > 0
        assert part.macs_after == (0 if part.name in gone else part.macs_before)
        assert all((layer.after == 0) == (part.name in gone) for layer in part.layers)
    before, after = (sum(column) for column in zip(*strip.weights(), strict=True))
    assert (before, after) == pytest.approx((1, 0.5)), "the parts add up to what was measured of the whole"
    assert sum(part.macs_before for part in strip.parts) == subject.analysis.cost.macs
    assert sum(part.macs_after for part in strip.parts) == small.cost.macs


def test_thinner_layers_show_their_channels() -> None:
    proto = small_cnns.flattened()
    subject = subject_of(proto)
    result = prune(
        proto, ["filter-magnitude"], None, "flops=0.6", options=RunOptions(timing=TimingOptions(measure_latency=False))
    )
    assert result.model is not None
    small = analyse(result.model, subject.feeds, OPTIONS)
    strip = gather_strip(subject, model_parts(subject.analysis), small, RunOptions(), None)
    widths = {layer.name: (layer.before, layer.after) for part in strip.parts for layer in part.layers}
    cut = {units.group.partition("/")[0]: (units.size, units.size - len(units.removed)) for units in result.plan.units}
    assert cut
    for name, pair in cut.items():
        assert widths[name] == pair
    assert {part.name for part in strip.parts if part.state == "cut"} >= set(cut)
    assert not strip.is_timed and "nothing was timed" in strip.caption
