"""``expert-use``: the mean share of each expert in the mix of a token, by a loop over tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import pytest

import graphprune
from graphprune.errors import NothingToPrune, PlanError
from graphprune.ir.export import to_proto
from graphprune.ir.loading import load
from graphprune.plan.plan import Decision
from graphprune.rewrite.apply import execute
from graphprune.runtime.sessions import RuntimeOptions
from graphprune.scoring.routing import Router, routed_shares
from tests.decoder_graphs import Sizes, fused_decoder, plain_decoder
from tests.decoder_steps import first_feeds, looked_at, steps
from tests.passes.asking import Arrays, counts, inner, pruned, removed, scores

_SIZES = Sizes(layers=2, experts=6)
_BUILT = pytest.mark.parametrize("build", [fused_decoder, plain_decoder])


def prompts(proto: onnx.ModelProto) -> Arrays:
    """Four prompts of seven tokens, with an empty cache."""
    ids = np.random.default_rng(3).integers(0, _SIZES.vocabulary, (4, 7))
    return first_feeds(load(proto), ids)


def by_loop(proto: onnx.ModelProto, feeds: Arrays, layer: int) -> np.ndarray:
    (scored,) = inner(proto, feeds, f"routed_{layer}")
    use: np.ndarray = np.zeros(scored.shape[-1])
    for row in scored.reshape(-1, scored.shape[-1]):
        best = sorted(range(len(row)), key=lambda expert: -row[expert])[:2]
        weights = np.exp(row[best])
        use[best] += weights / weights.sum()
    shares: np.ndarray = use / use.mean()
    return shares


@_BUILT
def test_scores_are_those_of_the_loop_and_the_oracle_agrees(build: Callable[[Sizes], onnx.ModelProto]) -> None:
    proto = build(_SIZES)
    feeds = prompts(proto)
    result = pruned(proto, "expert-use{ratio=0.34}", feeds)
    for layer, (group, values) in enumerate(scores(result).items()):
        expected = by_loop(proto, feeds, layer)
        np.testing.assert_allclose(values, expected, rtol=1e-4)
        assert removed(result)[group] == sorted(np.argsort(expected)[:2])
    assert set(counts(result).values()) == {2}


@_BUILT
def test_decoding_goes_on_with_the_experts_that_are_left(build: Callable[[Sizes], onnx.ModelProto]) -> None:
    """Against weights cut by hand, over two steps with the cache."""
    proto = build(_SIZES)
    result = pruned(proto, "expert-use{ratio=0.34}", prompts(proto))
    by_hand = onnx.ModelProto.FromString(proto.SerializeToString())
    gone = list(removed(result).values())
    for tensor in by_hand.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if tensor.name.startswith(("fc", "up", "down")):
            values = np.delete(values, gone[int(tensor.name[-1])], axis=0)
        elif tensor.name.startswith("router"):
            values = np.delete(values, gone[int(tensor.name[-1])], axis=1)
        elif tensor.name == "rows_experts":
            values = np.array([-1, _SIZES.experts - 2])
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    ids = np.array([[3, 1, 4, 1, 5]])
    assert result.model is not None
    small = to_proto(result.model)
    for expected, found in zip(steps(by_hand, ids, [9, 2]), steps(small, ids, [9, 2]), strict=True):
        np.testing.assert_allclose(found["logits"], expected["logits"], atol=1e-5)


def test_as_many_stay_as_a_token_goes_to() -> None:
    proto = fused_decoder(_SIZES)
    with pytest.raises(graphprune.GraphpruneError, match=r"at most ratio=0\.6667"):
        pruned(proto, "expert-use{floor=0}", prompts(proto), "ratio=0.9")


def test_a_target_of_parameters() -> None:
    proto = fused_decoder(_SIZES)
    result = pruned(proto, "expert-use", prompts(proto), "params=0.8")
    assert set(counts(result).values()) == {2}


def test_without_experts_there_is_nothing_to_prune() -> None:
    proto = fused_decoder(Sizes(layers=2))
    with pytest.raises(NothingToPrune, match="finds no experts to prune"):
        pruned(proto, "expert-use{ratio=0.5}", prompts(proto))


def test_a_plan_that_leaves_too_few_is_refused() -> None:
    proto = fused_decoder(_SIZES)
    (units, _) = pruned(proto, "expert-use{ratio=0.34}", prompts(proto)).plan.units
    decision = Decision("expert-use", units=(replace(units, removed=(0, 1, 2, 3, 5)),))
    analysis, options = looked_at(proto), RuntimeOptions(threads=1)
    feeds = first_feeds(analysis.model, np.zeros((1, 4), np.int64))
    with pytest.raises(PlanError, match=r"leaves 1 of 6 experts of .*, which chooses 2 of them at a time"):
        execute(analysis, decision, [], feeds, options)


def test_shares_of_great_scores() -> None:
    """Whose exponentials no number holds."""
    shares = routed_shares(np.array([[1000.0, 999.0, 0.0]]), Router("scores", 1, 2, holds_shares=False))
    np.testing.assert_allclose(shares, [[1 / (1 + np.exp(-1)), 1 / (1 + np.exp(1)), 0]])


def test_experts_along_the_first_axis() -> None:
    values = np.random.default_rng(0).standard_normal((5, 4))  # as many tokens would go unnoticed
    first = routed_shares(values, Router("scores", 0, 2, holds_shares=False))
    np.testing.assert_array_equal(first, routed_shares(values.T, Router("scores", 1, 2, holds_shares=False)))


def test_padding_goes_to_no_expert() -> None:
    proto = plain_decoder(_SIZES)
    feeds = dict(prompts(proto))
    feeds["attention_mask"] = np.array(feeds["attention_mask"])
    feeds["attention_mask"][1:, :4] = 0
    counts_token = feeds["attention_mask"].astype(bool).reshape(-1)
    result = pruned(proto, "expert-use{ratio=0.34}", feeds)
    for layer, values in enumerate(scores(result).values()):
        (scored,) = inner(proto, feeds, f"routed_{layer}")
        rows = scored.reshape(-1, scored.shape[-1])[counts_token]
        shares = routed_shares(rows, Router("scores", 1, 2, holds_shares=False)).mean(0)
        np.testing.assert_allclose(values, shares / shares.mean(), rtol=1e-4)
