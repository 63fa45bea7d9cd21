"""Removals judged after their repair: the same repair as the stage's, from the same samples, at a bounded price."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from graphprune.importance.distance import StreamedDistance
from graphprune.ir.export import to_proto
from graphprune.segments.stepwise import StepwiseRun
from tests.graphs import Arrays, initialisers, random_feeds, residual_mlp, run
from tests.repair.candidates import ALL, trials
from tests.repair.nets import correlated, resnet
from tests.repair.story import Story, distance, story


def convolutional() -> Story:
    return story(resnet(4), correlated(40))


def dense() -> Story:
    proto = residual_mlp(4)
    return story(proto, random_feeds(proto, 60))


@pytest.mark.parametrize("make", [convolutional, dense])
@pytest.mark.parametrize("join", ["join0", "join1", "join3"])
def test_a_trial_is_the_repair_of_the_stage(make: Callable[[], Story], join: str) -> None:
    """Walked from the gap, with what is before it shared: the weights are those of a walk of its own."""
    wanted, _, report = make().without(join).repaired("ridge")
    assert report.kept
    net = make()
    with trials(net) as bench:
        bench.judge([other for other in ("join0", "join1", "join2", "join3")], StreamedDistance)
        bench.settle(join)
        found, old = initialisers(to_proto(bench.parent)), initialisers(net.proto)
    for name, values in initialisers(wanted).items():
        np.testing.assert_allclose(found[name], values, rtol=0, atol=1e-5 * float(np.abs(values).max()))
    assert any(np.abs(found[name] - old[name]).max() > 1e-2 for name in found)


@pytest.mark.parametrize("make", [convolutional, dense])
def test_the_second_removal_stands_on_the_repair_of_the_first(make: Callable[[], Story]) -> None:
    net = make()
    with trials(net) as bench:
        bench.judge(["join1"], StreamedDistance)
        bench.settle("join1")
        once = to_proto(bench.parent)
        assert set(bench.blocks) == {"join0", "join2", "join3"}
        judged = bench.judge(["join2", "join0"], StreamedDistance)[0]
        bench.settle("join2")
        twice = to_proto(bench.parent)
    wanted, found = (features(proto, net.feeds, proto.graph.node[-1].input[0]) for proto in (net.proto, twice))
    assert judged.result(0) == pytest.approx(error(found, wanted), rel=1e-3)
    worse = make().without("join1", "join2")
    assert distance(run(twice, net.feeds), run(net.proto, net.feeds)) < 0.7 * distance(
        run(worse.small_proto, net.feeds), run(net.proto, net.feeds)
    )
    assert len(once.graph.node) > len(twice.graph.node)


def error(found: np.ndarray, wanted: np.ndarray) -> tuple[float, float]:
    """Mean squared distance as a share of the variance, and half the difference of even and odd rows."""
    apart, variance = np.sum((found - wanted) ** 2, axis=1), float(wanted.var(0).sum())
    return float(apart.mean()) / variance, abs(float(apart[::2].mean() - apart[1::2].mean())) / 2 / variance


def features(proto: onnx.ModelProto, feeds: Arrays, tensor: str) -> np.ndarray:
    whole = onnx.ModelProto.FromString(proto.SerializeToString())
    whole.graph.output.append(onnx.helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, None))
    return run(whole, feeds, [tensor])[0].reshape(len(next(iter(feeds.values()))), -1).astype(np.float64)


@pytest.mark.parametrize(("refits", "count"), [(0, 0), (1, 3), (2, 6), (ALL, 7 + 5 + 3)])
def test_only_so_many_layers_are_refitted(refits: int, count: int) -> None:
    net = dense()
    with trials(net, refits=refits) as bench:
        bench.judge(["join0", "join1", "join2"], StreamedDistance)
        assert bench.refits == count
        bench.settle("join0")
    old, new = initialisers(net.proto), initialisers(to_proto(bench.parent))
    touched = [name for name in new if not np.array_equal(old[name], new[name])]
    assert touched == ["a1", "b1"][:refits]


def test_what_lies_before_the_gap_runs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No trial walks through the blocks before its own."""
    walked: list[set[str]] = []
    honest = StepwiseRun.__init__

    def watched(self: StepwiseRun, *args: object, **more: object) -> None:
        honest(self, *args, **more)  # type: ignore[arg-type]
        walked.append({name for leg in self._legs for name in leg.nodes})

    monkeypatch.setattr(StepwiseRun, "__init__", watched)
    with trials(dense(), refits=1) as bench:
        bench.judge(["join0", "join2"], StreamedDistance)
    first, third = walked
    assert "stem" not in first | third
    assert not {"first0", "first1", "join1"} & third
    assert {"first1", "join1", "first3"} <= first
    assert {"first3", "second3"} <= third


def test_earlier_steps_are_repaired_first() -> None:
    """Filters cut by a pass before: the trials' target is the network as given, and the parent is no ruin."""

    def cut() -> Story:
        return convolutional().cut("a0", [0, 2, 5]).cut("a2", [1, 4])

    net = cut()
    with trials(net) as bench:
        assert to_proto(bench.parent) == net.repaired("ridge")[0]
    with trials(cut(), is_repaired=True) as bench:
        assert to_proto(bench.parent) == net.small_proto


def test_narrower_and_shorter_than_given() -> None:
    """The representation has lost channels, and the block before it, in earlier steps."""
    net = convolutional().cut("stem", [1, 4]).without("join3")
    left = [0, 2, 3, 5]
    wanted = pooled(net.proto, net.feeds, "h4")[:, left]
    with trials(net, names=("h3",)) as bench:
        for join, tensor in (("join2", "h2"), ("join0", "h2")):
            found = bench.judge([join], StreamedDistance)[0].result(0)[0]
            bench.settle(join)
            assert [each.tensor for each in bench.representations] == [tensor]
            there = pooled(to_proto(bench.parent), net.feeds, tensor)
            assert found == pytest.approx(error(there, wanted)[0], rel=1e-3)


def pooled(proto: onnx.ModelProto, feeds: Arrays, tensor: str) -> np.ndarray:
    """Means over the positions."""
    width = {"h2": 4, "h3": 4}.get(tensor, 6)
    return np.asarray(features(proto, feeds, tensor).reshape(-1, width, 64).mean(2))
