"""Hidden units of a recurrent layer, as the passes see them: in sequence-first order, and fed back into themselves."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import graphprune
from graphprune import RecoveryOptions, RunOptions, TimingOptions
from graphprune.importance.vip import one_hot, pls_vip
from tests.graphs import build, initialisers
from tests.passes.asking import decided, inner, pruned, removed, scores

RANDOM = np.random.default_rng(0)
DATA: dict[str, np.ndarray] = {
    "x": RANDOM.standard_normal((48, 5, 4)).astype(np.float32),
    "labels": RANDOM.integers(0, 3, 48),
}


def network(op: str = "LSTM", gates: int = 4) -> onnx.ModelProto:
    """A dense layer, a recurrent one on time-first sequences, its last state, two dense layers."""
    return build(
        f"""(float[N,5,4] x) => (float[N,3] y) {{ [in] a = MatMul(x, w0) b = Relu(a) t = Transpose<perm = [1, 0, 2]>(b)
        [rnn] states, last = {op}<hidden_size = 6>(t, w, r, bias) s = Squeeze(last, zero) [mid] m = MatMul(s, w1)
        n = Relu(m) [out] y = MatMul(n, w2) }}""",
        {
            "w0": (4, 7),
            "w": (1, 6 * gates, 7),
            "r": (1, 6 * gates, 6),
            "bias": (1, 12 * gates),
            "w1": (6, 8),
            "w2": (8, 3),
            "zero": np.array([0]),
        },
    )


@pytest.mark.parametrize(("op", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
@pytest.mark.parametrize("spec", ["filter-magnitude", "neuron-projection", "filter-pls-vip"])
def test_cut_and_proved(op: str, gates: int, spec: str) -> None:
    result = pruned(network(op, gates), f"{spec}{{scope=group}}", DATA, "ratio=0.3")
    assert {"in/neurons", "rnn/neurons", "mid/neurons"} == set(removed(result))
    assert result.validation is not None and result.validation.max_relative_error < 1e-5


def test_magnitude_counts_gates_recurrence_and_reader() -> None:
    proto = network()
    w = initialisers(proto)
    found = scores(decided(proto, "filter-magnitude{include=rnn/neurons}", None, "removed=1"))["rnn/neurons"]
    squares = sum((w[name] ** 2).sum((0, 2)).reshape(4, 6).sum(0) for name in ("w", "r"))
    squares = squares + (w["r"] ** 2).sum((0, 1)) + (w["w1"] ** 2).sum(1)
    np.testing.assert_allclose(found, squares / squares.mean(), rtol=1e-5)


def test_vip_of_what_each_sample_makes() -> None:
    """States lie time first; the features of a sample are those of its own sequence."""
    proto = network()
    (states,) = inner(proto, DATA, "states")
    features = states[:, 0].max(axis=0)  # (time, N, hidden)
    expected = pls_vip(features, one_hot(DATA["labels"]), 2)
    found = scores(decided(proto, "filter-pls-vip{include=rnn/neurons}", DATA, "removed=1"))["rnn/neurons"]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_obs_leaves_them_whole() -> None:
    """What the layer itself would lose cannot be refitted."""
    found = decided(network(), "filter-obs", DATA, "removed=3")
    assert set(removed(found)) == {"mid/neurons"}
    assert "left whole, for no layer reads them that could be refitted: in/neurons, rnn/neurons" in found.notes


def test_repair_leaves_them_and_says_so() -> None:
    options = RunOptions(
        batch=8, align=1, timing=TimingOptions(measure_latency=False), recovery=RecoveryOptions(repair=("ridge",))
    )
    result = graphprune.prune(network(), ["filter-magnitude{scope=group}"], DATA, "ratio=0.3", options=options)
    assert result.repair is not None
    layers = {layer.layer: layer for layer in result.repair.layers}
    assert set(layers) == {"rnn", "mid", "out"}
    assert (layers["rnn"].is_kept, layers["rnn"].note) == (False, "recurrent layers are not refitted")
    assert layers["mid"].is_kept
