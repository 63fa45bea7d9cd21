"""Fresh weights: how they are spread, what they depend on, and what is left alone or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from graphprune.errors import ModelError
from graphprune.ir.export import to_proto
from graphprune.ir.loading import load
from graphprune.rewrite.initialise import SEED_KEY, initialise, seed_of
from tests.command import command
from tests.graphs import build, initialisers, random_feeds, run
from tests.small_cnns import stages


def network() -> onnx.ModelProto:
    """Conv-norm-Relu, a residual branch of two, a depthwise Conv, and dense layers with a Tanh between."""
    return build(
        """(float[N,8,8,8] x) => (float[N,4] y) {
        [scale] i = Mul(x, std) [c1] a = Conv<pads = [1, 1, 1, 1]>(i, w1, b1)
        [n1] b = BatchNormalization(a, s1, t1, m1, v1) [r1] c = Relu(b)
        [c2] d = Conv<pads = [1, 1, 1, 1]>(c, w2) [n2] e = BatchNormalization(d, s1, t1, m1, v1) [r2] f = Relu(e)
        [c3] g = Conv<pads = [1, 1, 1, 1]>(f, w3) [join] h = Add(c, g) [r3] j = Relu(h)
        [dw] k = Conv<pads = [1, 1, 1, 1], group = 64>(j, w4) [pool] l = GlobalAveragePool(k) [flat] m = Flatten(l)
        [fc1] n = MatMul(m, w5) [bias] o = Add(n, b5) [act] p = Tanh(o) [fc2] y = Gemm<transB = 1>(p, w6, b6) }""",
        {
            "std": (1, 8, 1, 1),
            "w1": (64, 8, 3, 3),
            "w2": (64, 64, 3, 3),
            "w3": (64, 64, 3, 3),
            "w4": (64, 1, 3, 3),
            "w5": (64, 300),
            "b5": (300,),
            "w6": (4, 300),
            "b6": (4,),
        }
        | {name: (64,) for name in ("b1", "s1", "t1", "m1", "v1")},
    )


def fresh(proto: onnx.ModelProto, seed: int = 0) -> onnx.ModelProto:
    return to_proto(initialise(load(proto), seed).model)


def test_weights_are_spread_as_he_and_xavier_say() -> None:
    proto = network()
    before, after = initialisers(proto), initialisers(fresh(proto))
    he = {"w1": 8 * 9, "w2": 64 * 9, "w3": 64 * 9}  # what a filter reads
    for name, fan_in in he.items():
        assert after[name].std() == pytest.approx((2 / fan_in) ** 0.5, rel=0.05)
        assert np.abs(after[name]).max() > 3 * after[name].std()
    for name, fans in {"w4": (9, 9), "w5": (64, 300), "w6": (300, 4)}.items():
        limit = (6 / sum(fans)) ** 0.5
        assert 0.9 * limit < np.abs(after[name]).max() <= limit
    assert after.keys() == before.keys()
    assert all((after[name].shape, after[name].dtype) == (before[name].shape, before[name].dtype) for name in after)


def test_norms_and_biases_begin_anew() -> None:
    after = initialisers(fresh(network()))
    for name, value in {"s1": 1, "v1": 1, "t1": 0, "m1": 0, "b1": 0, "b5": 0, "b6": 0}.items():
        assert (after[name] == value).all(), name
    assert (after["std"] == initialisers(network())["std"]).all()  # before the first layer: no weight


def test_counts() -> None:
    assert initialise(load(network()), 0).counts == {"he": 3, "xavier": 3, "scale": 2, "zero": 5}


def test_numbers_follow_from_seed_and_name() -> None:
    proto = network()
    one, again, other = (initialisers(fresh(proto, seed)) for seed in (3, 3, 4))
    assert all((one[name] == again[name]).all() for name in one)
    assert not (one["w2"] == other["w2"]).any()
    assert not (one["w2"] == one["w3"]).any()
    smaller = build(
        "(float[N,8,8,8] x) => (float[N,64,8,8] y) { a = Conv<pads = [1, 1, 1, 1]>(x, w1) y = Relu(a) }",
        {"w1": (64, 8, 3, 3)},
    )
    assert (initialisers(fresh(smaller, 3))["w1"] == one["w1"]).all()


def test_the_file_keeps_the_last_seed() -> None:
    proto = network()
    assert seed_of(load(proto)) is None
    twice = fresh(fresh(proto, 3), 5)
    assert seed_of(load(twice)) == 5
    assert [entry.key for entry in twice.metadata_props] == [SEED_KEY]


def test_the_rest_of_the_file_stays() -> None:
    proto = network()
    after = fresh(proto)
    assert [node.SerializeToString() for node in after.graph.node] == [
        node.SerializeToString() for node in to_proto(load(proto)).graph.node
    ]
    feeds = random_feeds(proto)
    assert np.isfinite(run(after, feeds)[0]).all()
    assert initialisers(proto)["w1"].std() != pytest.approx(initialisers(after)["w1"].std(), rel=0.01)


def test_transformers_norms_tables_and_masks() -> None:
    mask = np.array([[0, -1e4], [0, 0]], np.float32)
    proto = build(
        """(int64[N,2] x) => (float[N,2,6] y) { e = Gather(table, x) p = Add(e, positions)
        n = LayerNormalization<axis = -1>(p, gamma, beta) q = MatMul(n, w) g = Sigmoid(q) u = Mul(q, g)
        t = Transpose<perm = [0, 2, 1]>(u) s = MatMul(u, t) m = Add(s, mask) a = Softmax(m) y = MatMul(a, n) }""",
        {"table": (50, 6), "positions": (1, 2, 6), "gamma": (6,), "beta": (6,), "w": (6, 6), "mask": mask},
    )
    after = initialisers(fresh(proto))
    assert after["table"].std() == pytest.approx(0.02, rel=0.15)
    assert 0 < np.abs(after["positions"]).max() < 0.1
    assert (after["gamma"] == 1).all() and (after["beta"] == 0).all()
    assert (after["mask"] == mask).all()
    assert initialise(load(proto), 0).counts["he"] == 1  # x * sigmoid(x) is a rectifier


def test_recurrent_layers() -> None:
    proto = build(
        "(float[S,N,5] x) => (float[S,1,N,6] y) { y, h, c = LSTM<hidden_size = 6>(x, w, r, b) }",
        {"w": (1, 24, 5), "r": (1, 24, 6), "b": (1, 48)},
    )
    after = initialisers(fresh(proto))
    assert np.abs(after["w"]).max() <= (6 / 11) ** 0.5
    assert np.abs(after["r"]).max() <= (6 / 12) ** 0.5
    assert (after["b"] == 0).all()


def test_refuses_what_it_does_not_know() -> None:
    unknown = build('(float[N,4] x) => (float[N,4] y) { y = Einsum<equation = "ij,jk->ik">(x, w) }', {"w": (4, 4)})
    with pytest.raises(ModelError, match=r"\(Einsum\) reads 'w' \[4, 4\], and how that would start is not known"):
        fresh(unknown)
    computed = build("(float[N,3,4,4] x, float[2,3,1,1] w) => (float[N,2,4,4] y) { [c] y = Conv(x, w) }")
    with pytest.raises(ModelError, match="the weights of c are computed or quantised"):
        fresh(computed)


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(network(), tmp_path / "net.onnx")
    assert command(monkeypatch, "init", tmp_path / "net.onnx", "--seed", 7, "-o", tmp_path / "a.onnx") == 0
    assert "drew with seed 7: 3 he, 2 scale, 3 xavier, 5 zero" in capsys.readouterr().out
    written = onnx.load(tmp_path / "a.onnx")
    assert (initialisers(written)["w2"] == initialisers(fresh(network(), 7))["w2"]).all()
    before = (tmp_path / "net.onnx").read_bytes()
    assert command(monkeypatch, "init", tmp_path / "net.onnx", "-o", tmp_path / "net.onnx") == 1
    assert (tmp_path / "net.onnx").read_bytes() == before
    assert "never touched" in capsys.readouterr().err
    assert command(monkeypatch, "init", tmp_path / "net.onnx", "-q") == 0
    assert "folded" not in capsys.readouterr().err
    onnx.save(stages((2,)), tmp_path / "folded.onnx")
    assert command(monkeypatch, "init", tmp_path / "folded.onnx") == 0
    assert "note: the model has no norms, or they are folded" in capsys.readouterr().err
    assert (tmp_path / "net.fresh.onnx").is_file()
