"""Means and deviations after the repair against those of the original, channel by channel, from the whole networks."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from graphprune.repair.moments import ChannelMoments
from graphprune.repair.survivors import survivors
from tests.graphs import build, initialisers, random_feeds, residual_mlp, tapped
from tests.repair.nets import correlated, resnet, with_weights
from tests.repair.story import Story, story
from tests.small_cnns import flattened

DATA = correlated(24)
Pair = tuple[np.ndarray, np.ndarray]


def moments(values: np.ndarray, axis: int) -> Pair:
    rows = np.moveaxis(values, axis, -1).reshape(-1, values.shape[axis]).astype(np.float64)
    return rows.mean(0), rows.std(0)


def wanted(net: Story, fixed: onnx.ModelProto) -> list[tuple[Pair, Pair]]:
    """Moments of each exit, in the repaired network and in the original one, of what is left."""
    sites = list(net.sites.values())
    names = [site.exit for site in sites]
    mine, theirs = tapped(fixed, net.feeds, names), tapped(net.proto, net.feeds, names)
    pairs = []
    for site in sites:
        full = theirs[site.exit]
        axis = site.axis % full.ndim
        left = survivors(net.steps, site.exit, axis, full.shape[axis])
        pairs.append((moments(mine[site.exit], axis), moments(np.take(full, left, axis), axis)))
    return pairs


@pytest.mark.parametrize("batch", [24, 7, 1])
def test_moments_are_those_of_the_original(batch: int) -> None:
    """Of all layers at once: each one sees the network with those before it repaired."""
    net = story(resnet(3), DATA).cut("a0", [0, 2, 5, 7]).cut("a2", [1, 2, 3]).without("join1")
    fixed, layers, report = net.repaired("stats", batch=batch)
    assert list(layers) == ["b0", "a2", "b2", "head"]
    assert all(layer.is_kept and layer.after < layer.before for layer in layers.values())
    assert report.samples == 24
    for (mean, deviation), (their_mean, their_deviation) in wanted(net, fixed):
        np.testing.assert_allclose(mean, their_mean, atol=1e-4)
        np.testing.assert_allclose(deviation, their_deviation, rtol=1e-4)


def test_where_batch_norm_holds_it() -> None:
    """In the bias of BatchNorm and in the kernels before it; its own statistics stay."""
    net = story(resnet(2), DATA).cut("a0", [0, 2, 5, 7])
    fixed, layers, _ = net.repaired("stats")
    assert layers["b0"].is_kept
    old, new = initialisers(net.small_proto), initialisers(fixed)
    touched = {name for name in old if not np.array_equal(old[name], new[name])}
    assert touched == {"b0_w", "b0_t", "a1_w", "a1_t", "b1_w", "b1_t", "head_w", "head_b"}
    factors = new["b0_w"] / old["b0_w"]
    np.testing.assert_allclose(factors, np.broadcast_to(factors[:, :1, :1, :1], factors.shape), rtol=1e-4)


def test_without_biases_the_deviations_alone() -> None:
    proto = residual_mlp(2)
    net = story(proto, random_feeds(proto, 40)).cut("first0", [1, 2, 5, 8, 11, 12])
    fixed, layers, _ = net.repaired("stats")
    kept = [layer.is_kept for layer in layers.values()]
    assert any(kept)
    for is_kept, ((_, deviation), (_, theirs)) in zip(kept, wanted(net, fixed), strict=True):
        if is_kept:
            np.testing.assert_allclose(deviation, theirs, rtol=1e-4)


def test_held_out_error_by_brute_force() -> None:
    """Each half of the samples, odd and even, matched by what the other half asks for."""
    net = story(resnet(1), DATA).cut("a0", [0, 2, 5, 7])
    site = net.sites["b0"]
    mine = tapped(net.small_proto, DATA, [site.exit])[site.exit]
    theirs = tapped(net.proto, DATA, [site.exit])[site.exit]
    halves = (slice(0, None, 2), slice(1, None, 2))
    before = after = 0.0
    for one, other in (halves, halves[::-1]):
        (mean, deviation), (their_mean, their_deviation) = moments(mine[one], 1), moments(theirs[one], 1)
        factors = their_deviation / deviation
        offsets = their_mean - factors * mean
        judged, truth = moments(mine[other], 1), moments(theirs[other], 1)
        before += float(np.sum((judged[0] - truth[0]) ** 2) + np.sum((judged[1] - truth[1]) ** 2))
        after += float(
            np.sum((factors * judged[0] + offsets - truth[0]) ** 2) + np.sum((factors * judged[1] - truth[1]) ** 2)
        )
    scale = 2 * float(np.sum(moments(theirs, 1)[1] ** 2))
    layer = net.repaired("stats", batch=5)[1]["b0"]
    assert layer.before == pytest.approx(before / scale, rel=1e-4)
    assert layer.after == pytest.approx(after / scale, rel=1e-3)


def test_one_sample_says_nothing() -> None:
    """There is nobody to judge by."""
    net = story(resnet(1), correlated(1)).cut("a0", [0, 2])
    fixed, layers, _ = net.repaired("stats")
    assert not any(layer.is_kept for layer in layers.values())
    assert fixed == net.small_proto


def test_channels_that_do_not_vary_are_only_shifted() -> None:
    """Rounding is no deviation: divided by it, kernels that the calibration happens not to use would become huge."""
    proto = resnet(1)
    weights = initialisers(proto)
    silent = weights["b0_w"].copy()
    silent[2] = 0
    silent[2, :, 1, 1] = 1e-9  # below what float32 resolves beside the bias
    net = story(with_weights(proto, {"b0_w": silent}), DATA).cut("a0", [0, 2, 5, 7])
    fixed, layers, _ = net.repaired("stats")
    assert layers["b0"].is_kept
    assert np.abs(initialisers(fixed)["b0_w"][2]).max() < 1e-6


def test_dead_channels_do_not_mislead_what_follows() -> None:
    """What BatchNorm has switched off cannot be scaled; nor may the values that go on be."""
    proto = resnet(2)
    weights = initialisers(proto)
    for value in (0.0, 1e-9):
        gammas = weights["b0_s"].copy()
        gammas[[1, 4]] = value
        net = story(with_weights(proto, {"b0_s": gammas}), DATA).cut("a0", [0, 2, 5, 7])
        fixed, layers, _ = net.repaired("stats")
        assert list(layers) == ["b0", "a1", "b1", "head"]
        for layer, (ours, theirs) in list(zip(layers.values(), wanted(net, fixed), strict=True))[1:]:
            if layer.is_kept:
                np.testing.assert_allclose(ours, theirs, atol=1e-4)
        assert layers["b0"].is_kept
        assert layers["a1"].is_kept
        np.testing.assert_array_equal(
            initialisers(fixed)["b0_w"][[1, 4]], initialisers(net.small_proto)["b0_w"][[1, 4]]
        )


def test_depthwise_and_dense_layers() -> None:
    net = story(flattened(), DATA).cut("c1", [1, 4])
    fixed, layers, _ = net.repaired("stats")
    assert (layers["dw"].is_kept, layers["dw"].before < 1e-12) == (
        False,
        True,
    )  # it lost what it had from its own channel
    assert layers["fc1"].is_kept
    mean, deviation = wanted(net, fixed)[list(layers).index("fc1")][0]
    np.testing.assert_allclose(mean, wanted(net, fixed)[list(layers).index("fc1")][1][0], atol=1e-4)
    assert (deviation > 0).all()


def test_moments_streamed() -> None:
    rows = np.random.default_rng(0).standard_normal((50, 3)) * [1, 1e-3, 0] + [0, 5, 1 / 3]
    parts = [ChannelMoments(), ChannelMoments()]
    assert parts[0].is_empty
    for start in range(0, 50, 7):
        parts[start % 2].add(rows[start : start + 7])
    both = parts[0] + parts[1]
    np.testing.assert_allclose(both.mean, rows.mean(0))
    np.testing.assert_allclose(both.deviation, rows.std(0) * [1, 1, 0], rtol=1e-6)
    assert both.deviation[2] == 0


def test_shift_that_nothing_carries_stays_in_what_goes_on() -> None:
    """Scaling weights does not scale a constant behind them; those further on must not be told it did."""
    proto = build(
        """(float[N,4] x) => (float[N,3] y) { [first] a = MatMul(x, w0) [act] h = Tanh(a) [second] b = MatMul(h, w1)
        [more] c = Add(b, two) [act2] d = Tanh(c) [third] e = MatMul(d, w2) [last] y = Add(e, v) }""",
        {"w0": (4, 6), "w1": (6, 5), "w2": (5, 3), "v": (3,), "two": np.array(0.7, np.float32)},
    )
    net = story(proto, random_feeds(proto, 60)).cut("first", [0, 2, 5])
    fixed, layers, _ = net.repaired("stats")
    assert net.sites["second"].bias is None
    assert all(layer.is_kept for layer in layers.values())
    (_, second), (mean, last) = (ours for ours, _ in wanted(net, fixed))
    (_, their_second), (their_mean, their_last) = (theirs for _, theirs in wanted(net, fixed))
    np.testing.assert_allclose(second, their_second, rtol=1e-4)
    np.testing.assert_allclose(mean, their_mean, atol=1e-4)
    np.testing.assert_allclose(last, their_last, rtol=1e-4)
