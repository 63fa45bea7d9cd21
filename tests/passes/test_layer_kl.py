"""``layer-kl``: the definition the slow way, for classes and for tokens; Softmax at the end; what holds no classes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from scipy.special import log_softmax, rel_entr, softmax

from graphprune.errors import OptionError
from graphprune.importance.divergence import StreamedDivergence
from tests.graphs import build, residual_mlp, run
from tests.passes.asking import decided, pruned
from tests.passes.last_layer import samples


def divergence(logits: np.ndarray, other: np.ndarray) -> float:
    """KL of the softmax along the last axis, the mean over all others."""
    p, q = (softmax(each.astype(np.float64), -1) for each in (logits, other))
    return float(rel_entr(p, q).sum(-1).mean())


def without(proto: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """The network with one weight at zero, so that its block adds nothing."""
    changed = onnx.ModelProto()
    changed.CopyFrom(proto)
    weight = next(each for each in changed.graph.initializer if each.name == name)
    weight.CopyFrom(onnx.numpy_helper.from_array(np.zeros_like(onnx.numpy_helper.to_array(weight)), name))
    return changed


@pytest.mark.parametrize("batch", [7, 256])
def test_scores_are_the_divergence_without_the_block(batch: int) -> None:
    proto = residual_mlp(3)
    feeds = {"x": samples(proto)}
    step = decided(proto, "layer-kl", feeds, "removed=1", batch=batch).plan.blocks[0]
    dense = run(proto, feeds)[0]
    wanted = [divergence(dense, run(without(proto, f"b{i}"), feeds)[0]) for i in range(3)]
    assert [score.score for score in step.scores] == pytest.approx(wanted, rel=1e-4)
    assert step.score == min(score.score for score in step.scores)
    assert all(0 < score.standard_error < score.score for score in step.scores)


def test_the_next_block_is_scored_without_the_first() -> None:
    """And against the network so far, or as it was given."""
    proto = residual_mlp(3)
    feeds = {"x": samples(proto)}
    dense = run(proto, feeds)[0]
    for reference in ("current", "original"):
        first, second = decided(proto, f"layer-kl{{reference={reference}}}", feeds, "removed=2").plan.blocks
        parts = {f"join{i}": f"b{i}" for i in range(3)}
        smaller = without(proto, parts.pop(first.join))
        against = run(smaller, feeds)[0] if reference == "current" else dense
        wanted = [divergence(against, run(without(smaller, weight), feeds)[0]) for weight in parts.values()]
        assert [score.score for score in second.scores] == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("axis", ["", "<axis = -1>", "<axis = 1>"])
def test_of_a_final_softmax_what_it_reads_counts(axis: str) -> None:
    """Shares that round to 0 have no logarithm."""
    proto = residual_mlp(2)
    tail = build(f"(float[N,3] y) => (float[N,3] p) {{ p = Softmax{axis}(y) }}")
    whole = onnx.compose.merge_models(proto, tail, [("y", "y")])
    feeds = {"x": samples(proto)}
    plain, ended = (decided(each, "layer-kl", feeds, "removed=1").plan for each in (proto, whole))
    assert ended.decisions[0].representations == ("y",)
    assert [s.score for s in ended.blocks[0].scores] == [s.score for s in plain.blocks[0].scores]


def test_every_token_counts() -> None:
    proto = build(
        """(float[N,S,4] x) => (float[N,S,5] y) {
        h0 = MatMul(x, w) p = MatMul(h0, a) q = Tanh(p) r = MatMul(q, b) h1 = Add(h0, r)
        s = MatMul(h1, c) t = Tanh(s) u = MatMul(t, d) h2 = Add(h1, u) y = MatMul(h2, e)
        }""",
        {"w": (4, 6), "a": (6, 9), "b": (9, 6), "c": (6, 9), "d": (9, 6), "e": (6, 5)},
    )
    feeds = {"x": np.random.default_rng(0).standard_normal((9, 7, 4)).astype(np.float32)}
    step = decided(proto, "layer-kl", feeds, "removed=1").plan.blocks[0]
    dense = run(proto, feeds)[0]
    wanted = [divergence(dense, run(without(proto, name), feeds)[0]) for name in ("b", "d")]
    assert [score.score for score in step.scores] == pytest.approx(wanted, rel=1e-4)


def test_the_result_is_proved() -> None:
    proto = residual_mlp(3)
    result = pruned(proto, "layer-kl", {"x": samples(proto)}, "removed=2")
    assert result.validation is not None
    assert result.validation.max_relative_error < 1e-5


def test_refuses_outputs_that_hold_no_classes() -> None:
    proto = build(
        "(float[N,3,8,8] x) => (float[N,3,8,8] y) { g = Conv(x, v) h = Conv(g, w) a = Add(g, h) y = Conv(a, u) }",
        {name: (3, 3, 1, 1) for name in "uvw"},
    )
    data = {"x": np.ones((4, 3, 8, 8), np.float32)}
    with pytest.raises(OptionError, match=r"'y' .* holds neither class scores"):
        decided(proto, "layer-kl{floor=0,skip_first=false}", data, "removed=1")


def test_streamed_divergence_in_float32_of_many_classes() -> None:
    """Whatever the batches; of tokens of a large vocabulary nothing is held in float64."""
    generator = np.random.default_rng(0)
    logits = generator.standard_normal((6, 5000)).astype(np.float32) * 3
    other = logits + generator.standard_normal(logits.shape).astype(np.float32)
    stream = StreamedDivergence()
    for rows in (slice(0, 1), slice(1, 6)):
        stream.reference(logits[rows])
        stream.candidate(0, other[rows])
        stream.candidate(1, logits[rows])
    assert stream.rows == 6
    p, q = log_softmax(logits.astype(np.float64), -1), log_softmax(other.astype(np.float64), -1)
    each = (np.exp(p) * (p - q)).sum(-1)
    assert stream.result(0) == pytest.approx((each.mean(), each.std() / 6**0.5), rel=1e-4)
    assert stream.result(1) == pytest.approx((0, 0), abs=1e-6)
    stream.reference(np.array([[np.inf, 0]], np.float32))
    assert not stream.is_informative
