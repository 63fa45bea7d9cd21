"""``unit=layer``: attention and MLP of a layer are one candidate, scored together and removed together."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import onnx
import pytest

from graphprune import RunOptions, TimingOptions, prune
from graphprune.analysis.layers import find_layers
from graphprune.analysis.stages import allowance
from graphprune.errors import OptionError, TargetNotReached
from graphprune.pass_infra.whole_layers import whole_layers
from graphprune.plan.plan import Plan
from graphprune.report.result import Result
from graphprune.rewrite import remove_blocks
from graphprune.runtime.sessions import RuntimeOptions, open_model, run
from graphprune.segments.runner import Segments
from tests.decoder_graphs import Sizes, fused_decoder, plain_decoder
from tests.decoder_steps import first_feeds, looked_at
from tests.graphs import assert_same, residual_mlp

ONE_THREAD = RuntimeOptions(threads=1)
OPTIONS = RunOptions(runtime=ONE_THREAD, timing=TimingOptions(measure_latency=False))
STYLES = [fused_decoder, plain_decoder]


def pruned(proto: onnx.ModelProto, spec: str, removed: int) -> Result:
    model = looked_at(proto).model
    feeds = first_feeds(model, np.random.default_rng(0).integers(0, 40, (12, 6)))
    return prune(proto, spec, feeds, f"removed={removed}", options=OPTIONS)


@pytest.mark.parametrize("make", STYLES)
def test_attention_and_mlp_go_together(make: Callable[..., onnx.ModelProto]) -> None:
    blocks = [join.block.join for join in looked_at(make(Sizes(layers=4))).joins if join.block]
    result = pruned(make(Sizes(layers=4)), "layer-cka{unit=layer}", 2)
    places = [blocks.index(block.join) for block in result.plan.blocks]
    assert places == [places[0], places[0] + 1, places[2], places[2] + 1]
    assert places[0] % 2 == places[2] % 2 == 0
    assert [len(block.scores) for block in result.plan.blocks] == [0, 4, 0, 3]
    (decision,) = Plan.from_dict(json.loads(result.plan.to_json())).decisions
    assert (decision.removed_count, decision.considered, result.plan.reached) == (2, 4, 2)
    assert result.validation is not None


def test_layers_are_counted_where_too_many_are_asked_for() -> None:
    with pytest.raises(TargetNotReached, match="at most removed=2 with 2 layers gone"):
        pruned(fused_decoder(Sizes(layers=3)), "layer-cka{unit=layer}", 3)


def test_most_counts_layers() -> None:
    with pytest.raises(TargetNotReached, match="at most removed=1 with 1 layer gone"):
        pruned(fused_decoder(Sizes(layers=4)), "layer-cka{unit=layer,most=1}", 2)


@pytest.mark.parametrize("make", STYLES)
def test_a_layer_is_scored_without_all_of_it(make: Callable[..., onnx.ModelProto]) -> None:
    analysis = looked_at(make())
    model = analysis.model
    rules = whole_layers(allowance(model, analysis.joins, None, None), find_layers(model, analysis.joins))
    pieces = [piece for layer in rules.candidates for piece in layer.pieces]
    segments = Segments.at_blocks(model, pieces, ["logits"], ONE_THREAD)
    feeds = first_feeds(model, np.random.default_rng(0).integers(0, 40, (2, 6)))
    env = segments.run(feeds)
    for layer in rules.candidates:
        small = remove_blocks(model, list(layer.pieces))
        expected = run(open_model(small, ONE_THREAD), feeds, ["logits"])
        assert_same([segments.without(env, layer)["logits"].numpy()], expected)


def test_blocks_are_not_judged_after_repair_by_layer() -> None:
    with pytest.raises(OptionError, match="judges single blocks"):
        pruned(fused_decoder(), "layer-cka{unit=layer,rescore=repaired}", 1)


def test_where_blocks_are_layers_nothing_changes() -> None:
    feeds = {"x": np.random.default_rng(0).standard_normal((32, 4)).astype(np.float32)}
    specs = [f"layer-cka{{unit={unit}}}" for unit in ("block", "layer")]
    one, other = (prune(residual_mlp(4), spec, feeds, "removed=2", options=OPTIONS) for spec in specs)
    assert [block.join for block in one.plan.blocks] == [block.join for block in other.plan.blocks]
