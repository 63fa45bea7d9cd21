"""A layer's refit against scikit-learn on the tensors themselves, tapped from both whole networks."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from sklearn.linear_model import Ridge

from graphprune.repair import places as places_room
from graphprune.repair import refit, ridge
from graphprune.repair.gram import HalvedSums
from graphprune.repair.places import places
from tests.graphs import build, initialisers, random_feeds, residual_mlp, tapped
from tests.repair.nets import correlated, resnet, with_weights
from tests.repair.story import Story, story

PENALTY = 1e-3


def mlp(samples: int = 60) -> Story:
    proto = residual_mlp(2)
    return story(proto, random_feeds(proto, samples))


@pytest.fixture
def one_penalty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ridge, "PENALTIES", (PENALTY,))


def towards(x: np.ndarray, t: np.ndarray, weights: np.ndarray, *, with_shift: bool) -> tuple[np.ndarray, np.ndarray]:
    """Ridge of rows towards ``weights``, and the shift."""
    spread = ((x - x.mean(0)) ** 2 if with_shift else x**2).sum(0).mean()
    model = Ridge(alpha=PENALTY * spread, fit_intercept=with_shift, solver="cholesky").fit(x, t - x @ weights)
    return weights + model.coef_.T, np.broadcast_to(model.intercept_, t.shape[1:])


@pytest.mark.usefixtures("one_penalty")
@pytest.mark.parametrize("batch", [60, 7, 1])
def test_join_minus_shortcut_is_what_a_branch_should_compute(batch: int) -> None:
    """The stream has drifted: the second block's branch is asked to pay that back, too."""
    net = mlp().cut("first0", [0, 3, 5, 9]).cut("first1", [2, 4])
    fixed, layers, _ = net.repaired("ridge", batch=batch)
    assert layers["second1"].is_kept
    mine = tapped(fixed, net.feeds, ["q1", "h1"])  # h1 is that of the repaired network
    target = tapped(net.proto, net.feeds, ["h2"])["h2"] - mine["h1"]
    wanted, _ = towards(mine["q1"], target, initialisers(net.small_proto)["b1"], with_shift=False)
    np.testing.assert_allclose(initialisers(fixed)["b1"], wanted, atol=2e-4)


@pytest.mark.usefixtures("one_penalty")
def test_exit_behind_batch_norm() -> None:
    """A pointwise convolution; what BatchNorm makes of it is what should come out, by kernels and BatchNorm's bias."""
    proto = build(
        """(float[N,4,3,3] x) => (float[N,5,3,3] y) { [first] a = Conv(x, w0) [act] h = Relu(a)
        [second] c = Conv(h, w1, b1)
        [norm] d = BatchNormalization(c, s, t, m, v) [end] y = Relu(d) }""",
        {"w0": (6, 4, 1, 1), "w1": (5, 6, 1, 1), "b1": (5,), "s": (5,), "t": (5,), "m": (5,), "v": (5,)},
    )
    net = story(proto, random_feeds(proto, 30)).cut("first", [1, 4])
    fixed, layers, _ = net.repaired("ridge", batch=8)
    assert layers["second"].is_kept
    mine = np.moveaxis(tapped(fixed, net.feeds, ["h"])["h"], 1, -1).reshape(-1, 4).astype(np.float64)
    target = np.moveaxis(tapped(net.proto, net.feeds, ["d"])["d"], 1, -1).reshape(-1, 5).astype(np.float64)
    old, new = initialisers(net.small_proto), initialisers(fixed)
    scale = old["s"] / np.sqrt(old["v"] + 1e-5)
    weights, shift = towards(mine, target, old["w1"][:, :, 0, 0].T * scale, with_shift=True)
    np.testing.assert_allclose(new["w1"][:, :, 0, 0].T * scale, weights, atol=1e-4)
    np.testing.assert_allclose(scale * (old["b1"] - old["m"]) + new["t"], shift, atol=1e-4)
    assert {name for name in old if not np.array_equal(old[name], new[name])} == {"w1", "t"}


def test_small_pieces_make_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few samples are turned into windows at a time."""
    net = story(resnet(1), correlated(9)).cut("a0", [0, 2, 5, 7])
    whole = initialisers(net.repaired("ridge", batch=4)[0])
    monkeypatch.setattr(refit, "_CHUNK_BYTES", 1)
    pieces = initialisers(net.repaired("ridge", batch=4)[0])
    for name, values in whole.items():
        np.testing.assert_allclose(pieces[name], values, atol=1e-5)


def test_the_loss_of_hardly_anything_is_told_and_repaired() -> None:
    """Rows are float32; what is summed is what the present weights leave over, so that its own size is what rounds."""
    proto = resnet(1)
    weights = initialisers(proto)
    quiet = {name: weights[name] * np.where(np.arange(8) < 3, np.float32(1e-4), 1) for name in ("a0_s", "a0_t")}
    net = story(with_weights(proto, quiet), correlated(64)).cut("a0", [0, 1, 2])
    _, layers, _ = net.repaired("ridge")
    target = tapped(net.proto, net.feeds, ["u0"])["u0"].astype(np.float64)
    gap = target - tapped(net.small_proto, net.feeds, ["u0"])["u0"]
    variation = np.sum((target - target.mean((0, 2, 3), keepdims=True)) ** 2)
    assert layers["b0"].before == pytest.approx(np.sum(gap**2) / variation, rel=1e-2)
    assert layers["b0"].after < 0.5 * layers["b0"].before < 1e-7


def test_sampled_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    """About as many rows as asked for, the same number of each sample, whatever the size of the last batch."""
    monkeypatch.setattr(places_room, "ROWS_PER_INPUT", 2)
    seen: list[tuple[int, int]] = []
    add = HalvedSums.add

    def watched(self: HalvedSums, x: np.ndarray, t: np.ndarray, samples: int) -> None:
        seen.append((len(x), samples))
        add(self, x, t, samples)

    monkeypatch.setattr(HalvedSums, "add", watched)
    net = story(resnet(1), correlated(9)).cut("a0", [0, 2, 5, 7])
    _, layers, _ = net.repaired("ridge", batch=4)
    first = seen[:3]  # of b0: 4 channels of 3 x 3
    assert [samples for _, samples in first] == [4, 4, 1]
    assert len({rows / samples for rows, samples in first}) == 1
    assert 2 * 36 * 9 / 12 <= sum(rows for rows, _ in first) < 2 * 36 + 9
    assert layers["b0"].after < layers["b0"].before


def test_places() -> None:
    random = np.random.default_rng(0)
    assert places((8, 3, 3, 5), 4, 2, random) is None
    picked = places((8, 100, 100, 5), 4, 2, random)
    assert picked is not None
    assert len(picked) == places_room.ROWS_PER_INPUT * 4 / 16 == len(set(picked.tolist()))
    assert 0 <= picked.min() < picked.max() < 100 * 100
    assert (np.diff(picked) > 0).all()


def test_shortcut_without_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Position embeddings that the graph picks are added to every sample, not to the first of a batch."""
    monkeypatch.setattr(refit, "_CHUNK_BYTES", 1)
    proto = build(
        """(float[N,S,4] x) => (float[N,S,2] y) { [first] a = MatMul(x, w0) [act] h = Tanh(a) [second] b = MatMul(h, w1)
        [size] s = Shape<start = 1, end = 2>(x) [pick] p = Slice(table, zero, s, one) [join] j = Add(b, p)
        [last] y = MatMul(j, w2) }""",
        {
            "w0": (4, 6),
            "w1": (6, 5),
            "w2": (5, 2),
            "table": (1, 9, 5),
            "zero": np.array([0]),
            "one": np.array([1]),
        },
    )
    x = np.random.default_rng(0).standard_normal((40, 3, 4)).astype(np.float32)
    net = story(proto, {"x": x}).cut("first", [1, 4])
    assert net.sites["second"].shortcut == "p"
    _, layers, _ = net.repaired("ridge", batch=16)
    assert layers["second"].is_kept


def test_rows_that_depend_on_the_data_are_left_alone() -> None:
    """Which rows there are is decided by what a block adds; without it there are others."""
    proto = build(
        """(float[N,4] x) => (float[M,2] y) { [stem] h0 = MatMul(x, w0) [first] p = MatMul(h0, w1) [act] q = Tanh(p)
        [second] r = MatMul(q, w2) [join] h1 = Add(h0, r) [sum] s = ReduceSum<keepdims = 0>(h1, one)
        [test] b = Greater(s, zero) [some] c = Compress<axis = 0>(h1, b) [last] y = MatMul(c, w3) }""",
        {
            "w0": (4, 6),
            "w1": (6, 8),
            "w2": (8, 6),
            "w3": (6, 2),
            "one": np.array([1]),
            "zero": np.array(0, np.float32),
        },
    )
    net = story(proto, random_feeds(proto, 40)).without("join")
    fixed, layers, _ = net.repaired("ridge")
    assert "rows" in layers["last"].note
    assert not layers["last"].is_kept
    assert fixed == net.small_proto


def test_what_has_lost_nothing_is_left_alone() -> None:
    """Units that were silent anyway: no weight moves."""
    proto = residual_mlp(2)
    for tensor in proto.graph.initializer:
        if tensor.name == "b0":
            values = onnx.numpy_helper.to_array(tensor).copy()
            values[[3, 5]] = 0
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, "b0"))
    net = story(proto, random_feeds(proto, 40)).cut("first0", [3, 5])
    fixed, layers, _ = net.repaired("stats", "ridge")
    assert not any(layer.is_kept for layer in layers.values())
    assert fixed == net.small_proto


def test_one_sample_at_most_one_half() -> None:
    net = mlp(1).cut("first0", [0, 3])
    fixed, layers, _ = net.repaired("ridge")
    assert not any(layer.is_kept for layer in layers.values())
    assert fixed == net.small_proto


@pytest.mark.parametrize("samples", [2, 3])
def test_few_samples_of_many_inputs(samples: int) -> None:
    """Fewer rows than unknowns: finite, and no worse on what was not used."""
    net = mlp(samples).cut("first0", [0, 3])
    fixed, layers, _ = net.repaired("ridge")
    for values in initialisers(fixed).values():
        assert np.isfinite(values).all()
    assert all(layer.after <= layer.before for layer in layers.values())


def test_channels_that_cannot_be_changed_get_their_best_shift() -> None:
    """The stream has drifted; where BatchNorm lets no weight through,
    the mean of the drift is all that can be paid back.
    """
    proto = resnet(2)
    gammas = initialisers(proto)["b1_s"].copy()
    gammas[[1, 4]] = 0
    net = story(with_weights(proto, {"b1_s": gammas}), correlated(40)).cut("a0", [0, 1, 2, 4, 5, 7])
    fixed, layers, _ = net.repaired("ridge")
    assert layers["b1"].is_kept
    found, wanted = (tapped(each, net.feeds, ["v1"])["v1"][:, [1, 4]] for each in (fixed, net.proto))
    assert np.abs(found - wanted).mean() > 0.01
    np.testing.assert_allclose(found.mean((0, 2, 3)), wanted.mean((0, 2, 3)), atol=1e-4)
