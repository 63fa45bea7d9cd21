"""``walk``: readers of what goes, one after another; units chosen on the way."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from graphprune import RunOptions, TimingOptions, prune
from graphprune.analysis.model_analysis import ModelAnalysis, analyse
from graphprune.data.dataset import input_specs, load_data
from graphprune.decoder.interface import decoder_interface
from graphprune.decoder.steps import prefill
from graphprune.importance.obs import Reader, removal_losses
from graphprune.ir.export import to_proto
from graphprune.ir.loading import load
from graphprune.repair.stage import carried_out
from graphprune.repair.task import RepairState
from graphprune.repair.walk import DAMPING, Choice, WalkRefit, modest_batch, read_group
from graphprune.report.result import Result
from graphprune.runtime.sessions import RuntimeOptions
from tests.decoder_graphs import Sizes, fused_decoder
from tests.graphs import Arrays, initialisers, run
from tests.model_folder.by_hand import named
from tests.passes.asking import inner
from tests.repair.nets import with_weights
from tests.repair.story import first, spread, story
from tests.small_cnns import grouped
from tests.token_graphs import Shape, tokens, transformer

ONE_THREAD = RuntimeOptions(threads=1)
SHAPE = Shape(layers=2, neurons=12)
FEEDS = tokens(SHAPE, samples=240)


def damped(x: np.ndarray, target: np.ndarray, old: np.ndarray) -> np.ndarray:
    """Ridge regression towards the old weights, of rows that have been weighted."""
    gram = x.T @ x
    ridge = DAMPING * np.diag(np.diag(gram) + 1e-3 * np.trace(gram) / len(gram))
    return old + np.linalg.solve(gram + ridge, x.T @ (target - x @ old))


@pytest.fixture(autouse=True)
def one_penalty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WalkRefit, "penalties", (DAMPING,))


def weighted(stream: np.ndarray, *arrays: np.ndarray) -> list[np.ndarray]:
    """Errors count as a share of the stream."""
    factors = 1 / np.sqrt(np.mean(stream**2, axis=1, keepdims=True))
    return [array * factors for array in arrays]


def rows(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1, array.shape[-1]).astype(np.float64)


def test_only_readers_of_what_went() -> None:
    """Each refitted towards the original's stream minus the stream that the pruned network has before it."""
    net = story(transformer(SHAPE), FEEDS).cut("l0_up", [1, 4, 6]).cut("l1_up", [0, 2])
    fixed, layers, _ = net.repaired("walk")
    assert list(layers) == ["l0_down", "l1_down"]
    old, new = initialisers(net.small_proto), initialisers(fixed)
    assert {name for name, values in old.items() if not np.array_equal(values, new[name])} == {"wdown0", "wdown1"}
    hidden, stream = (rows(each) for each in inner(fixed, FEEDS, "hidden1", "a1"))
    (target,) = (rows(each) for each in inner(net.proto, FEEDS, "h2"))
    inputs, goal = weighted(target, hidden, target - stream)
    wanted = damped(inputs, goal, old["wdown1"].astype(np.float64))
    np.testing.assert_allclose(new["wdown1"], wanted, atol=1e-4)
    outputs = run(net.proto, FEEDS)
    assert spread(run(fixed, FEEDS), outputs) < 0.9 * spread(run(net.small_proto, FEEDS), outputs)


def analysed(shape: Shape, feeds: Arrays) -> ModelAnalysis:
    return analyse(load(transformer(shape)), first(feeds), ONE_THREAD)


def chosen(analysis: ModelAnalysis, feeds: Arrays, count: int) -> tuple[RepairState, list[Choice]]:
    scene = RepairState(analysis.model, analysis.model.copy(), ())
    groups = [group for group in analysis.groups if group.kind == "neurons"]
    tasks = [Choice(scene, read, count) for group in groups if (read := read_group(analysis, group))]
    carried_out(scene, tasks, load_data(feeds, analysis.model, None), 8, ONE_THREAD, lambda *_: None)
    return scene, tasks


def test_units_are_chosen_on_what_the_pruned_network_gives() -> None:
    scene, tasks = chosen(analysed(SHAPE, FEEDS), FEEDS, 4)
    assert [len(task.removed) for task in tasks] == [4, 4]
    refitted = to_proto(scene.pruned)
    hidden, stream = (rows(each) for each in inner(refitted, FEEDS, "hidden1", "a1"))
    (target,) = (rows(each) for each in inner(transformer(SHAPE), FEEDS, "h2"))
    old = initialisers(transformer(SHAPE))["wdown1"].astype(np.float64)
    hidden, target = weighted(target, hidden, target - stream)
    best = damped(hidden, target, old)
    gram = hidden.T @ hidden / len(hidden)
    ridge = DAMPING * np.diag(np.diag(gram) + 1e-3 * np.trace(gram) / len(gram))
    reader = Reader(gram + ridge, best, np.arange(12), 12, 1e-12)
    assert set(np.argsort(removal_losses([reader], 12, 4))[:4]) == set(tasks[1].removed)
    weights, left = initialisers(refitted)["wdown1"], ~np.isin(np.arange(12), tasks[1].removed)
    assert not weights[~left].any()
    np.testing.assert_allclose(weights[left], damped(hidden[:, left], target, old[left]), atol=1e-4)


def test_a_neuron_that_writes_nothing_goes_first() -> None:
    proto = transformer(SHAPE)
    down = initialisers(proto)["wdown0"].copy()
    down[7] = 0
    analysis = analyse(load(with_weights(proto, {"wdown0": down})), first(FEEDS), ONE_THREAD)
    _, tasks = chosen(analysis, FEEDS, 1)
    assert tasks[0].removed.tolist() == [7]


@pytest.mark.parametrize(("name", "is_read"), [("l0_up", True), ("l0_v", True), ("l0_q", False)])
def test_groups_that_one_layer_reads(name: str, is_read: bool) -> None:
    analysis = analysed(Shape(kv_heads=2), tokens(Shape(kv_heads=2)))
    group = next(g for g in analysis.groups if name in g.writers and (name != "l0_q" or g.kind == "head-dim"))
    assert (read_group(analysis, group) is not None) == is_read


def test_grouped_convolutions_are_no_single_reader() -> None:
    feeds = {"x": np.zeros((2, 3, 8, 8), np.float32)}
    analysis = analyse(load(grouped()), feeds, ONE_THREAD)
    sites = {g.name: read_group(analysis, g) for g in analysis.groups}
    assert all(read is None or len(read.owner) for read in sites.values())


def apart(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The same with every fused norm as a sum and a norm."""
    copy: onnx.ModelProto = onnx.ModelProto.FromString(proto.SerializeToString())
    nodes = list(copy.graph.node)
    del copy.graph.node[:]
    for node in nodes:
        if node.op_type == "SkipSimplifiedLayerNormalization":
            total = node.output[3] if len(node.output) > 3 and node.output[3] else f"{node.name}_total"
            copy.graph.node.append(helper.make_node("Add", node.input[:2], [total], f"{node.name}_sum"))
            epsilon = {attribute.name: attribute.f for attribute in node.attribute}["epsilon"]
            norm = helper.make_node(
                "SimplifiedLayerNormalization", [total, node.input[2]], [node.output[0]], node.name, epsilon=epsilon
            )
            norm.attribute.extend([helper.make_attribute("axis", -1), helper.make_attribute("stash_type", 1)])
            copy.graph.node.append(norm)
        else:
            copy.graph.node.append(node)
    return copy


def fused() -> tuple[onnx.ModelProto, Arrays]:
    """As onnxruntime-genai's builder writes decoders; the last norm keeps its sum to itself."""
    proto = named(fused_decoder(Sizes(neurons=32)))
    model = load(proto)
    interface = decoder_interface(model)
    assert interface is not None
    ids = np.random.default_rng(0).integers(0, 40, (40, 8))
    return proto, prefill(interface, {each.name: each for each in input_specs(model)}, ids)


def pruned(proto: onnx.ModelProto, spec: str, feeds: Arrays, cache: Path | None = None) -> Result:
    timing = TimingOptions(measure_latency=False, cache_dir=cache)
    return prune(
        proto, [spec], feeds, "params=0.75", options=RunOptions(batch=8, timing=timing, runtime=ONE_THREAD, align=1)
    )


def test_a_norm_that_adds_is_a_sum_and_a_norm() -> None:
    proto, feeds = fused()
    one, other = (pruned(each, "filter-obs", feeds) for each in (proto, apart(proto)))
    assert one.model is not None
    assert other.model is not None
    assert [units.removed for units in one.plan.units] == [units.removed for units in other.plan.units]
    weights, wanted = (initialisers(to_proto(each.model)) for each in (one, other) if each.model)
    for i in range(3):
        np.testing.assert_allclose(weights[f"down{i}"], wanted[f"down{i}"], atol=1e-4)


def test_parts_are_worth_the_same_before_a_norm_that_adds(tmp_path: Path) -> None:
    proto, feeds = fused()
    found = []
    for name, each in (("fused", proto), ("apart", apart(proto))):
        pruned(each, "allocate", feeds, tmp_path / name)
        (path,) = (tmp_path / name / "worth").iterdir()
        found.append(json.loads(path.read_text())["worths"])
    for one, other in zip(*found, strict=True):
        assert one["whole"] == pytest.approx(other["whole"], rel=1e-3)
        assert one["partial"].keys() == other["partial"].keys()
        for gone, values in one["partial"].items():
            assert values == pytest.approx(other["partial"][gone], rel=1e-3)
    assert sum(bool(each["partial"]) for each in found[0]) == 3


def test_batches_stay_small() -> None:
    analysis = analysed(SHAPE, FEEDS)
    assert modest_batch(analysis.model, analysis.sizes, "l1_down", 64) == 64
    large = {name: (1, 512, 1 << 12) for name in analysis.sizes}
    assert modest_batch(analysis.model, large, "l1_down", 64) == 4
    assert modest_batch(analysis.model, {name: (1, 1 << 30) for name in large}, "l1_down", 64) == 1
