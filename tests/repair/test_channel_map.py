"""The repair for convolutions whose windows are too many: it is the plain refit where that can be compared."""

from __future__ import annotations

import numpy as np
import pytest

from graphprune.ir.model import read_values
from graphprune.repair import ridge
from graphprune.repair.gram import HalvedSums
from graphprune.rewrite.weights import set_values
from tests.graphs import build, initialisers, random_feeds, run, tapped
from tests.repair.nets import correlated, resnet, with_weights
from tests.repair.story import Story, distance, story
from tests.small_cnns import flattened, grouped

SMALL = 1  # no sums fit
DATA = correlated(32)


def pointwise(bias: str) -> Story:
    """Two convolutions of 1 x 1 and a Relu between; behind the second what can carry a shift, or nothing."""
    tails = {
        "none": "[second] y = Conv(h, w1)",
        "own": "[second] y = Conv(h, w1, b1)",
        "norm": "[second] c = Conv(h, w1, b1) [norm] y = BatchNormalization(c, s, t, m, v)",
    }
    weights: dict[str, tuple[int, ...]] = {"w0": (6, 4, 1, 1), "w1": (5, 6, 1, 1)}
    weights |= {name: (5,) for name in ("b1" if bias == "own" else "b1 s t m v" if bias == "norm" else "").split()}
    proto = build(
        f"(float[N,4,3,3] x) => (float[N,5,3,3] y) {{ [first] a = Conv(x, w0) [act] h = Relu(a) {tails[bias]} }}",
        weights,
    )
    return story(proto, random_feeds(proto, 40))


@pytest.mark.parametrize("bias", ["none", "own", "norm"])
def test_equals_the_refit_for_one_by_one(bias: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without positions in the window and without drift both solve the same problem, at the same penalty."""
    monkeypatch.setattr(ridge, "PENALTIES", (1e-3,))
    net = pointwise(bias).cut("first", [1, 4])
    direct, layers, _ = net.repaired("ridge")
    mapped, notes, _ = net.repaired("ridge", limit_bytes=SMALL)
    assert layers["second"].is_kept
    assert notes["second"].is_kept
    assert notes["second"].note.startswith("channel map")
    assert "channel map" not in layers["second"].note
    wanted = initialisers(direct)
    for name, values in initialisers(mapped).items():
        np.testing.assert_allclose(values, wanted[name], atol=1e-4)
    assert not np.allclose(wanted["w1"], initialisers(net.small_proto)["w1"], atol=1e-2)


def test_the_limit_decides() -> None:
    net = story(resnet(1), DATA).cut("a0", [0, 2])
    need = HalvedSums.memory_bytes(1, 6 * 9, 6)
    assert "channel map" not in net.repaired("ridge", limit_bytes=need)[1]["b0"].note
    assert "channel map" in net.repaired("ridge", limit_bytes=need - 1)[1]["b0"].note


@pytest.mark.parametrize("methods", [("ridge",), ("stats", "ridge")])
@pytest.mark.parametrize("case", ["inner", "inner and what it writes", "stream", "block and stream"])
def test_improves_a_cut(case: str, methods: tuple[str, ...]) -> None:
    """Also where the layer's own filters were cut, where BatchNorm's bias was moved before, and where the layer reads
    the stream further up than it did."""
    net = story(resnet(3), DATA)
    if case == "inner":
        net.cut("a0", [0, 2, 5]).cut("a2", [1])
    elif case == "inner and what it writes":
        net.cut("stem", [2]).cut("a0", [0, 2, 5]).cut("a1", [3])
    elif case == "stream":
        net.cut("stem", [2])
    else:
        net.without("join1").cut("stem", [2]).cut("a2", [0, 7])
    feeds = correlated(40, seed=8)  # others than those of the repair
    wanted = run(net.proto, feeds)
    mapped, layers, _ = net.repaired(*methods, limit_bytes=6000)  # type: ignore[arg-type]
    maps = [layer for layer in layers.values() if layer.note.startswith("channel map")]
    assert any(layer.is_kept for layer in maps)
    assert all(layer.after <= layer.before for layer in maps)
    assert distance(run(mapped, feeds), wanted) < 0.8 * distance(run(net.small_proto, feeds), wanted)


def test_statistics_repaired_before_do_not_count_twice() -> None:
    """The map belongs to the original's kernels and so does their shift."""
    net = story(resnet(1), DATA).cut("a0", [0, 2, 5])
    alone, layers, _ = net.repaired("ridge", limit_bytes=SMALL)
    assert layers["b0"].is_kept
    after, layers, _ = net.repaired("stats", "ridge", limit_bytes=SMALL)
    assert layers["b0"].is_kept
    for name in ("b0_w", "b0_t"):
        np.testing.assert_allclose(initialisers(after)[name], initialisers(alone)[name], atol=1e-5)


def test_a_round_after_a_repair() -> None:
    """The network to repair may have been repaired, or trained, before: that must not be taken for the original's."""
    net = story(resnet(1), DATA).cut("a0", [0, 2, 5])
    alone = initialisers(net.repaired("ridge", limit_bytes=SMALL)[0])
    again = story(resnet(1), DATA).cut("a0", [0, 2, 5])
    for node in again.small.model.graph.nodes:
        if node.name == "nb0":  # gamma and beta
            for operand in (1, 2):
                old = read_values(node.inputs[operand], None)
                set_values(again.small.model, node, operand, old * np.linspace(0.5, 2, 6) + 0.3)
    trained, layers, _ = again.repaired("ridge", limit_bytes=SMALL)
    assert layers["b0"].is_kept
    new = initialisers(trained)
    factors = (alone["b0_s"] / new["b0_s"]).reshape(6, 1, 1, 1)
    np.testing.assert_allclose(new["b0_w"], alone["b0_w"] * factors, atol=1e-4)
    wanted, found = (tapped(each, DATA, ["u0"])["u0"] for each in (with_weights(net.small_proto, alone), trained))
    np.testing.assert_allclose(found, wanted, atol=1e-3)


@pytest.mark.parametrize(
    ("net", "cut", "layer"),
    [("grouped", "c3", "gc"), ("flattened", "c1", "dw"), ("flattened", "fc1", "fc2")],
)
def test_what_a_map_cannot_repair_is_left_with_the_reason(net: str, cut: str, layer: str) -> None:
    whole = story(grouped() if net == "grouped" else flattened(), DATA)
    size = next(group.size for group in whole.small.groups if cut in group.writers)
    whole.cut(cut, [0] if size > 2 else [])
    fixed, layers, _ = whole.repaired("ridge", limit_bytes=SMALL)
    assert not layers[layer].is_kept
    assert "too many" in layers[layer].note
    old, new = initialisers(whole.small_proto), initialisers(fixed)
    weights = {"gc": "w5", "dw": "w2", "fc2": "w5"}[layer]
    np.testing.assert_array_equal(new[weights], old[weights])
