"""The stage as a whole: what it may change, what it must reach, and that nothing but samples decides."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
import pytest

from graphprune.analysis.model_analysis import analyse
from graphprune.base.progress import silent
from graphprune.data.dataset import load_data
from graphprune.errors import OptionError
from graphprune.ir.export import to_proto
from graphprune.ir.model import Model
from graphprune.repair.outcome import RepairReport
from graphprune.repair.stage import METHODS, Method, parse_methods, repair
from tests.graphs import Arrays, build, initialisers, random_feeds, residual_mlp, run, tapped
from tests.repair.nets import correlated, resnet, with_weights
from tests.repair.story import ONE_THREAD, Story, distance, story

DATA = correlated(48)
HELD_OUT = correlated(40, seed=8)
BOTH: tuple[Method, ...] = ("stats", "ridge")
CUTS = ["units", "block", "both", "stream"]


def cut(kind: str) -> Story:
    net = story(resnet(3), DATA)
    if kind == "stream":
        return net.cut("stem", [1]).cut("a1", [2])
    if kind != "block":
        net.cut("a0", [0, 2, 5]).cut("a2", [1, 4])
    return net if kind == "units" else net.without("join1")


@pytest.mark.parametrize("kind", CUTS)
@pytest.mark.parametrize("methods", [("stats",), ("ridge",), BOTH])
def test_samples_not_seen_are_answered_better(kind: str, methods: tuple[Method, ...]) -> None:
    net = cut(kind)
    fixed, _, report = net.repaired(*methods)
    assert report.methods == methods
    assert report.kept == sum(layer.is_kept for layer in report.layers) > 0
    assert [layer.method for layer in report.layers] == sorted((layer.method for layer in report.layers), reverse=True)
    wanted = run(net.proto, HELD_OUT)
    worse, better = (distance(run(proto, HELD_OUT), wanted) for proto in (net.small_proto, fixed))
    assert better < (0.9 if methods == ("stats",) else 0.6) * worse


@pytest.mark.parametrize("kind", CUTS)
def test_only_weights_and_biases_change(kind: str) -> None:
    net = cut(kind)
    before, original = net.small_proto, net.proto
    fixed, _, _ = net.repaired(*BOTH)
    onnx.checker.check_model(fixed, full_check=True)
    assert net.small_proto == before
    assert net.proto == original
    assert fixed.graph.node == before.graph.node
    assert fixed.graph.input == before.graph.input
    assert fixed.graph.output == before.graph.output
    old, new = initialisers(before), initialisers(fixed)
    assert len(fixed.graph.initializer) == len(before.graph.initializer) == len(new)
    assert [(t.name, t.dims, t.data_type) for t in fixed.graph.initializer] == [
        (t.name, t.dims, t.data_type) for t in before.graph.initializer
    ]
    touched = {name for name in old if not np.array_equal(old[name], new[name])}
    assert touched
    assert all(name[0] in "abh" and name.endswith(("_w", "_t", "_b")) for name in touched)
    for size in (1, 5):  # the batch stays free
        assert run(fixed, {"x": HELD_OUT["x"][:size]})[0].shape == (size, 4)


def test_what_was_repaired_and_sees_no_change_is_left() -> None:
    """A second step refits what lies behind its own gap; the rest was refitted for the same samples after the first."""
    net = story(resnet(4), DATA).without("join0")
    data = load_data(DATA, net.original.model, None)

    def repaired(known: Model | None) -> tuple[Model, RepairReport]:
        asked = (net.original.model, net.small.model, net.steps, net.small.sizes)
        return repair(*asked, data, 8, ("ridge",), ONE_THREAD, silent, repaired=known)

    once, _ = repaired(None)
    net.small = analyse(once, {"x": DATA["x"][:1]}, ONE_THREAD)
    net.without("join2")
    (again, all_layers), (found, layers) = repaired(None), repaired(once)
    assert {layer.layer for layer in all_layers.layers} == {"a1", "b1", "a3", "b3", "head"}
    assert {layer.layer for layer in layers.layers} == {"a3", "b3", "head"}
    before, after = (initialisers(to_proto(model)) for model in (net.small.model, found))
    assert {name for name in after if not np.array_equal(before[name], after[name])} == {
        *("a3_w", "a3_t", "b3_w", "b3_t", "head_w", "head_b")
    }
    wanted = run(net.proto, HELD_OUT)
    bare, full, some = (distance(run(to_proto(m), HELD_OUT), wanted) for m in (net.small.model, again, found))
    assert some < min(1.05 * full, 0.8 * bare)


def test_half_precision_stays() -> None:
    """Weights are fitted in float64 and kept in float16."""
    proto = resnet(2)
    proto = half(proto)
    feeds = {"x": DATA["x"].astype(np.float16)}
    net = story(proto, feeds).cut("a0", [0, 2, 5]).cut("a1", [1, 3])
    fixed, _, report = net.repaired(*BOTH)
    assert report.kept
    onnx.checker.check_model(fixed, full_check=True)
    assert all(values.dtype == np.float16 and np.isfinite(values).all() for values in initialisers(fixed).values())
    wanted = run(net.proto, feeds)
    assert distance(run(fixed, feeds), wanted) < 0.6 * distance(run(net.small_proto, feeds), wanted)


def half(proto: onnx.ModelProto) -> onnx.ModelProto:
    """All in float16."""
    copy = with_weights(proto, {name: values.astype(np.float16) for name, values in initialisers(proto).items()})
    for value in (*copy.graph.input, *copy.graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    return copy


@pytest.mark.parametrize("kind", ["units", "both"])
def test_twice_the_same_bytes(kind: str) -> None:
    first, second = (cut(kind).repaired(*BOTH)[0].SerializeToString(deterministic=True) for _ in range(2))
    assert first == second


def test_labels_do_not_matter() -> None:
    net = cut("units")
    without = net.repaired(*BOTH)[0]
    for labels in (np.arange(48) % 4, np.zeros(48, np.int64)):
        assert net.repaired(*BOTH, feeds=DATA | {"labels": labels})[0] == without


def test_how_the_samples_come_in_batches_hardly_matters() -> None:
    net = cut("both")
    wanted = run(net.repaired("ridge", batch=48)[0], HELD_OUT)
    for batch in (1, 7):
        assert distance(run(net.repaired("ridge", batch=batch)[0], HELD_OUT), wanted) < 0.02


def test_both_networks_see_the_same_samples() -> None:
    """A source may shuffle, or draw others, each time it is read."""

    class Shuffling:
        readings = 0

        def __iter__(self) -> Iterator[Arrays]:
            type(self).readings += 1
            order = np.random.default_rng(self.readings).permutation(48)
            yield {"x": DATA["x"][order]}

    net = cut("units")
    data = load_data(Shuffling(), net.original.model, None)
    fixed, _ = repair(
        net.original.model, net.small.model, net.steps, net.small.sizes, data, 8, BOTH, ONE_THREAD, lambda *_: None
    )
    wanted = run(net.proto, HELD_OUT)
    straight = distance(run(net.repaired(*BOTH)[0], HELD_OUT), wanted)
    assert distance(run(to_proto(fixed), HELD_OUT), wanted) < 1.5 * straight


def test_later_layers_see_earlier_repairs() -> None:
    """The error that a layer starts from is that behind the repaired ones, not behind the cut."""
    proto = residual_mlp(2)
    net = story(proto, random_feeds(proto, 64)).cut("first0", [0, 1, 4, 7, 9, 12])
    fixed, layers, _ = net.repaired("ridge")
    target = tapped(net.proto, net.feeds, ["p1"])["p1"].astype(np.float64)
    old = initialisers(net.small_proto)["a1"]

    def error(of: onnx.ModelProto) -> float:
        rest = target - tapped(of, net.feeds, ["h1"])["h1"].astype(np.float64) @ old
        return float(np.sum(rest**2) / np.sum((target - target.mean(0)) ** 2))

    assert layers["first1"].before == pytest.approx(error(fixed), rel=1e-3)
    assert error(net.small_proto) > 1.2 * error(fixed)


@pytest.mark.parametrize("methods", [("ridge",), BOTH])
def test_duplicates_are_merged(methods: tuple[Method, ...]) -> None:
    """Units that say what another says: their readers take all from the one that is left."""
    proto = resnet(2)
    weights = initialisers(proto)
    changed: Arrays = {}
    for i, (kept, twin) in enumerate(((0, 3), (1, 6))):
        for name in (f"a{i}_w", *(f"a{i}_{part}" for part in "stmv")):
            changed[name] = weights[name].copy()
            changed[name][twin] = weights[name][kept]
    net = story(with_weights(proto, changed), correlated(200)).cut("a0", [3]).cut("a1", [6])
    fixed, layers, _ = net.repaired(*methods, batch=64)
    assert layers["b0"].is_kept
    wanted = run(net.proto, HELD_OUT)
    assert distance(run(net.small_proto, HELD_OUT), wanted) > 1e-2
    assert distance(run(fixed, HELD_OUT), wanted) < 1e-4


def test_a_linear_block_is_absorbed() -> None:
    """The layer behind takes over what the block did: W becomes (1 + A B) W."""
    proto = build(
        """(float[N,4] x) => (float[N,3] y) { [stem] s = MatMul(x, w0) [act] h0 = Tanh(s) [first] p = MatMul(h0, a)
        [second] r = MatMul(p, b) [join] h1 = Add(h0, r) [last] y = Gemm(h1, w1, c) }""",
        {"w0": (4, 6), "a": (6, 5), "b": (5, 6), "w1": (6, 3), "c": (3,)},
    )
    net = story(proto, random_feeds(proto, 300)).without("join")
    fixed, _, _ = net.repaired("ridge", batch=64)
    feeds = random_feeds(proto, 50, seed=9)
    assert distance(run(net.small_proto, feeds), run(proto, feeds)) > 0.1
    assert distance(run(fixed, feeds), run(proto, feeds)) < 1e-4
    old, new = initialisers(proto), initialisers(fixed)
    np.testing.assert_allclose(new["w1"], (np.eye(6) + old["a"] @ old["b"]) @ old["w1"], atol=2e-3)


def test_a_layer_behind_the_input() -> None:
    """The first block removed: its successor reads the network's input."""
    proto = build(
        """(float[N,6] x) => (float[N,3] y) { [first] p = MatMul(x, a) [act] q = Tanh(p) [second] r = MatMul(q, b)
        [join] h1 = Add(x, r) [last] y = Gemm(h1, w1, c) }""",
        {"a": (6, 8), "b": (8, 6), "w1": (6, 3), "c": (3,)},
    )
    net = story(proto, random_feeds(proto, 100)).without("join")
    assert [site.reads for site in net.sites.values()] == ["x"]
    fixed, layers, _ = net.repaired(*BOTH)
    assert layers["last"].is_kept
    feeds = random_feeds(proto, 50, seed=9)
    assert distance(run(fixed, feeds), run(proto, feeds)) < 0.7 * distance(
        run(net.small_proto, feeds), run(proto, feeds)
    )


@pytest.mark.parametrize("methods", [(), BOTH])
def test_nothing_to_do(methods: tuple[Method, ...]) -> None:
    net = story(resnet(1), DATA)
    fixed, layers, report = net.repaired(*methods)
    assert (fixed, layers, report.methods) == (net.proto, {}, methods)
    assert report.samples == (48 if methods else 0)


def test_progress() -> None:
    net = cut("block")
    told: list[tuple[str, int, int]] = []
    data = load_data(DATA, net.original.model, None)
    _, report = repair(
        net.original.model,
        net.small.model,
        net.steps,
        net.small.sizes,
        data,
        16,
        BOTH,
        ONE_THREAD,
        lambda task, done, total: told.append((task, done, total)),
    )
    count = len(report.layers) // 2
    assert told == [(f"repair {method}", done, count) for method in BOTH for done in range(count)]


@pytest.mark.parametrize(
    ("text", "methods"),
    [
        ("none", ()),
        ("stats", ("stats",)),
        ("ridge", ("ridge",)),
        ("stats,ridge", METHODS),
        (" ridge , stats ", METHODS[::-1]),
        ("ridge,ridge", ("ridge", "ridge")),
    ],
)
def test_methods_are_read(text: str, methods: tuple[str, ...]) -> None:
    """In the order in which they are asked for; twice is two rounds."""
    assert parse_methods(text) == methods


@pytest.mark.parametrize("text", ["", "all", "none,stats", "stats,", "Ridge", "stats ridge", "stats;ridge"])
def test_words_that_are_no_methods(text: str) -> None:
    with pytest.raises(OptionError, match="is no repair") as caught:
        parse_methods(text)
    assert "stats, ridge" in str(caught.value.fix)
