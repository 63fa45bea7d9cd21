"""``filter-obs`` in a decoder: whole attentions, or KV groups, beside the neurons of one walk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import pytest

import graphprune
from graphprune import RecoveryOptions, RunOptions, RuntimeOptions, TimingOptions
from graphprune.data.dataset import input_specs
from graphprune.decoder.interface import decoder_interface
from graphprune.decoder.steps import prefill
from graphprune.errors import NothingToPrune, OptionError
from graphprune.ir.export import to_proto
from graphprune.ir.loading import load
from graphprune.pass_infra.attentions import attention_count
from graphprune.report.result import Result
from tests.decoder_graphs import Sizes, fused_decoder, plain_decoder
from tests.graphs import Arrays, initialisers, run
from tests.passes.asking import counts
from tests.repair.nets import with_weights
from tests.repair.story import spread

SIZES = Sizes(layers=3, neurons=128)
QUIET = RunOptions(batch=8, align=1, timing=TimingOptions(measure_latency=False), runtime=RuntimeOptions(threads=1))


def prompts(proto: onnx.ModelProto, samples: int = 60) -> Arrays:
    model = load(proto)
    interface = decoder_interface(model)
    assert interface is not None
    ids = np.random.default_rng(0).integers(0, SIZES.vocabulary, (samples, 8))
    return prefill(interface, {spec.name: spec for spec in input_specs(model)}, ids)


def pruned(proto: onnx.ModelProto, spec: str, target: str, options: RunOptions = QUIET, samples: int = 60) -> Result:
    return graphprune.prune(proto, [spec], prompts(proto, samples), target, options=options)


def gain(proto: onnx.ModelProto, result: Result) -> float:
    """How far the logits are from the original's, as a share of what they are without the refits."""
    plain = graphprune.apply(
        proto, result.plan, prompts(proto), options=replace(QUIET, recovery=RecoveryOptions(repair=()))
    )
    assert result.model is not None
    assert plain.model is not None
    feeds = prompts(proto)
    wanted = run(proto, feeds)[:1]
    one, other = (_logits(each, feeds) for each in (result, plain))
    return float(spread(one, wanted) / spread(other, wanted))


def _logits(result: Result, feeds: Arrays) -> list[np.ndarray]:
    assert result.model is not None
    proto = to_proto(result.model)
    names = {value.name for value in proto.graph.input}
    shapes = {value.name: value.type.tensor_type.shape.dim for value in proto.graph.input}
    mine = {name: values for name, values in feeds.items() if name in names}
    for name, values in mine.items():
        if name.startswith("past"):
            mine[name] = values[:, : shapes[name][1].dim_value]
    return run(proto, mine)[:1]


def test_the_rule() -> None:
    """Thirty attentions of a third of an MLP each: nearly none at first, then more and more."""
    assert [attention_count(30, share, 3.0, 1.0) for share in (0.1, 0.25, 0.5, 1.0)] == [0, 2, 8, 30]


@pytest.mark.parametrize("make", [fused_decoder, plain_decoder])
def test_whole_attentions_go_first(make: Callable[[Sizes], onnx.ModelProto]) -> None:
    proto = make(SIZES)
    result = pruned(proto, "filter-obs{attention=whole}", "params=0.6")
    assert result.plan.blocks
    assert {units.kind for units in result.plan.units} == {"neurons"}
    assert max(counts(result).values()) - min(counts(result).values()) <= 1
    assert result.plan.reached <= 0.6
    assert result.plan.repair == ("walk",)
    assert result.validation is not None
    assert result.validation.max_relative_error < 1e-4
    assert gain(proto, result) < 0.95


def test_the_attention_that_writes_nothing_is_missed_least() -> None:
    proto = fused_decoder(SIZES)
    proto = with_weights(proto, {"o1": np.zeros_like(initialisers(proto)["o1"])})
    result = pruned(proto, "filter-obs{attention=whole}", "params=0.7")
    first = result.plan.blocks[0]
    assert first.score == pytest.approx(0.0, abs=1e-6)
    assert first.score == min(score.score for score in first.scores)
    assert len(first.scores) == SIZES.layers


@pytest.mark.parametrize("make", [fused_decoder, plain_decoder])
def test_kv_groups_go_in_the_same_walk(make: Callable[[Sizes], onnx.ModelProto]) -> None:
    """Equally many of each layer, with their query heads; what reads the rest is refitted, and so are the MLPs."""
    proto = make(SIZES)
    result = pruned(proto, "filter-obs{attention=groups}", "params=0.7")
    kinds = {units.group: units.kind for units in result.plan.units}
    heads = {name: count for name, count in counts(result).items() if kinds[name] == "kv-heads"}
    assert len(heads) == SIZES.layers
    assert len(set(heads.values())) == 1
    assert set(kinds.values()) == {"neurons", "kv-heads"}
    assert result.validation is not None
    assert result.validation.max_relative_error < 1e-4
    assert result.repair is not None
    assert len(result.repair.layers) == 2 * SIZES.layers
    assert gain(proto, result) < 0.95


def test_a_group_that_writes_nothing_goes() -> None:
    proto = fused_decoder(Sizes(heads=8, kv_heads=4, neurons=512))
    quiet = initialisers(proto)["o1"].copy()
    quiet[2 * 2 * SIZES.depth : 3 * 2 * SIZES.depth] = 0  # the third group, of two query heads
    result = pruned(with_weights(proto, {"o1": quiet}), "filter-obs{attention=groups}", "params=0.85")
    second = [units for units in result.plan.units if units.kind == "kv-heads"][1]
    assert second.removed == (2,)


def test_groups_alone_where_nothing_else_is_on_offer() -> None:
    result = pruned(fused_decoder(SIZES), "filter-obs{attention=auto,include=*kv-heads}", "ratio=0.5")
    assert {units.kind for units in result.plan.units} == {"kv-heads"}
    assert set(counts(result).values()) == {1}


def test_what_serves_best_is_tried() -> None:
    """Attentions that write nothing go rather than neurons that do; the note tells what each way gave."""
    proto = fused_decoder(SIZES)
    proto = with_weights(proto, {f"o{i}": 1e-3 * initialisers(proto)[f"o{i}"] for i in (0, 2)})
    result = pruned(proto, "filter-obs{attention=auto}", "params=0.6")
    assert result.plan.blocks
    (note,) = (note for note in result.plan.decisions[0].notes if "short walk" in note)
    assert "neurons alone" in note
    assert "with fewer KV groups" in note
    loud = fused_decoder(SIZES)
    loud = with_weights(loud, {f"down{i}": 1e-3 * initialisers(loud)[f"down{i}"] for i in range(3)})
    assert {units.kind for units in pruned(loud, "filter-obs{attention=auto}", "params=0.85").plan.units} == {"neurons"}


@pytest.mark.parametrize(
    ("spec", "target", "why"),
    [
        ("filter-obs{attention=whole}", "ratio=0.2", "does not say what one is worth in neurons"),
        ("filter-obs{attention=groups,ratio=0.2}", "params=0.9", "ratio caps units"),
        ("filter-obs{attention=whole,shape=uniform}", "params=0.9", "shape=uniform"),
    ],
)
def test_where_attentions_cannot_be_weighed(spec: str, target: str, why: str) -> None:
    with pytest.raises(OptionError, match=why):
        pruned(fused_decoder(SIZES), spec, target)


def test_the_true_reason_is_told() -> None:
    with pytest.raises(NothingToPrune, match="attention=keep takes no KV groups"):
        pruned(fused_decoder(SIZES), "filter-obs{include=*kv-heads}", "ratio=0.25")
    with pytest.raises(NothingToPrune, match="2SSP's rule has none go"):
        pruned(fused_decoder(SIZES), "filter-obs{attention=whole}", "params=0.99")


def test_one_sample_judges_nothing() -> None:
    result = pruned(fused_decoder(SIZES), "filter-obs{attention=auto}", "params=0.9", samples=1)
    assert {units.kind for units in result.plan.units} == {"neurons"}


def test_excluded_attentions_stay() -> None:
    proto = fused_decoder(SIZES)
    proto = with_weights(proto, {"o1": np.zeros_like(initialisers(proto)["o1"])})
    (layer,) = (node.name for node in load(proto).graph.nodes if node.op == "MatMul" and node.inputs[1].name == "o1")
    free, kept = (
        pruned(proto, f"filter-obs{{attention=whole{more}}}", "params=0.7").plan.blocks[0]
        for more in ("", f",exclude={layer}")
    )
    assert free.join != kept.join
    assert kept.score > free.score
