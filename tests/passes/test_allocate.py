"""``allocate``: what each part is worth, measured; the knapsack; the cache."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

import graphprune
from graphprune import DataOptions, RecoveryOptions, RunOptions, RuntimeOptions, TimingOptions
from graphprune.analysis.model_analysis import ModelAnalysis, analyse
from graphprune.data.dataset import load_data
from graphprune.errors import NothingToPrune, OptionError, TargetNotReached
from graphprune.importance.divergence import Divergence
from graphprune.ir.loading import load
from graphprune.repair.walk import DAMPING, read_group
from graphprune.repair.worth import Part, Worth, worths
from graphprune.report.result import Result
from tests.graphs import Arrays, initialisers, run
from tests.passes.asking import inner, pruned
from tests.repair.nets import with_weights
from tests.small_cnns import flattened
from tests.token_graphs import Shape, tokens, transformer

SHAPE = Shape(layers=3, neurons=20, mask=True)
FEEDS = tokens(SHAPE, samples=120)
QUIET = RunOptions(batch=8, align=1, timing=TimingOptions(measure_latency=False), runtime=RuntimeOptions(threads=1))


def parts_of(analysis: ModelAnalysis) -> list[Part]:
    reads = [read for g in analysis.groups if g.kind == "neurons" and (read := read_group(analysis, g))]
    blocks = [join.block for join in analysis.joins if join.block]
    return [Part(block, next((r for r in reads if r.site.node in block.nodes), None)) for block in blocks]


def weighed(proto: onnx.ModelProto, feeds: Arrays, samples: int = 3) -> dict[str, Worth]:
    analysis = analyse(load(proto), {name: values[:1] for name, values in feeds.items()}, QUIET.runtime)
    data = load_data(feeds, analysis.model, None)
    found = worths(analysis.model, parts_of(analysis), data, samples, QUIET.runtime, lambda *_: None)
    return {each.join: each for each in found}


def test_the_divergence_of_distributions() -> None:
    one, other = np.random.default_rng(0).standard_normal((2, 6, 5)).astype(np.float32)
    p, q = (np.exp(z) / np.exp(z).sum(1, keepdims=True) for z in (one, other))
    assert Divergence(one).of(other) == pytest.approx(float((p * np.log(p / q)).sum(1).mean()), rel=1e-5)
    assert Divergence(one).of(one + 3) == pytest.approx(0.0, abs=1e-6)


def test_what_is_gone_is_measured_in_the_whole_network() -> None:
    """A block bypassed, and neurons gone with their reader refitted to all samples but those that judge."""
    proto = transformer(SHAPE)
    found = weighed(proto, FEEDS)
    judges = {name: values[:3] for name, values in FEEDS.items()}
    dense = run(proto, judges)[0]
    bypassed = run(without(proto, "l1_attended", "x" if SHAPE.layers == 1 else "h1"), judges)[0]
    assert np.mean(found["l1_attended"].whole) == pytest.approx(Divergence(dense).of(bypassed), rel=1e-3)
    mlp = found["l1_added"]
    assert sorted(mlp.partial) == [5, 10, 15]
    hidden, stream = inner(proto, {name: values[3:] for name, values in FEEDS.items()}, "hidden1", "h2")
    is_token = FEEDS["attention_mask"][3:] == 1
    x = hidden[is_token] / np.sqrt(np.mean(stream[is_token].astype(np.float64) ** 2, axis=-1, keepdims=True))
    left = np.sort(np.argsort(mlp.losses, kind="stable")[5:])
    old = initialisers(proto)["wdown1"].astype(np.float64)
    gram = x.T @ x
    gram += DAMPING * np.diag(np.diag(gram) + 1e-3 * np.trace(gram) / 20)
    refitted = np.zeros_like(old)
    refitted[left] = np.linalg.solve(gram[np.ix_(left, left)], gram[left] @ old)
    cut = run(with_weights(proto, {"wdown1": refitted.astype(np.float32)}), judges)[0]
    assert np.mean(mlp.partial[5]) == pytest.approx(Divergence(dense).of(cut), rel=1e-2)


def without(proto: onnx.ModelProto, join: str, entry: str) -> onnx.ModelProto:
    """The join hands its entry on."""
    copy: onnx.ModelProto = onnx.ModelProto.FromString(proto.SerializeToString())
    node = next(node for node in copy.graph.node if node.name == join)
    node.op_type = "Identity"
    del node.input[:]
    node.input.append(entry)
    return copy


def allocated(target: str, spec: str = "allocate", **options: object) -> Result:
    return graphprune.prune(transformer(SHAPE), [spec], FEEDS, target, options=replace(QUIET, **options))  # type: ignore[arg-type]


def test_the_target_is_met_and_the_result_is_right() -> None:
    """The masked original is the oracle, as for every pass; readers are refitted in a walk."""
    result = allocated("params=0.7")
    assert result.validation is not None
    assert result.validation.max_relative_error < 1e-4
    assert result.plan.reached <= 0.7
    assert result.plan.repair == ("walk",)
    assert result.plan.decisions[0].score_title == "KL"


def test_what_is_worth_nothing_goes_first() -> None:
    """An attention that writes nothing, and an MLP half of whose neurons write nothing."""
    proto = transformer(SHAPE)
    quiet = np.zeros_like(initialisers(proto)["wo2"])
    down = initialisers(proto)["wdown0"].copy()
    down[5:15] = 0
    proto = with_weights(proto, {"wo2": quiet, "wdown0": down})
    result = graphprune.prune(proto, ["allocate"], FEEDS, "params=0.75", options=QUIET)
    assert "l2_attended" in {block.join for block in result.plan.blocks}
    cut = {units.group: set(units.removed) for units in result.plan.units}
    assert cut["l0_up/neurons"] & set(range(5, 15))


def test_attentions_stay_where_asked() -> None:
    result = allocated("flops=0.8", "allocate{attention=false}")
    assert {block.join for block in result.plan.blocks} <= {"l0_added", "l1_added", "l2_added"}
    kept = allocated("flops=0.8", "allocate{exclude=l0*|l1*}")
    assert {units.group for units in kept.plan.units} <= {"l2_up/neurons"}
    assert {block.join for block in kept.plan.blocks} <= {"l2_attended", "l2_added"}


def test_a_target_out_of_reach() -> None:
    with pytest.raises(TargetNotReached, match="with every block on offer gone"):
        allocated("params=0.5", "allocate{exclude=l0*|l1*}")


@pytest.mark.parametrize("target", ["removed=3", "ratio=0.2"])
def test_counts_are_no_targets(target: str) -> None:
    with pytest.raises(OptionError, match="cannot count both"):
        allocated(target)


def test_nobody_judges_on_nothing() -> None:
    with pytest.raises(OptionError, match="cannot judge on 0"):
        allocated("params=0.7", "allocate{samples=0}")


def test_a_network_without_blocks() -> None:
    images = {"x": np.zeros((4, 3, 8, 8), np.float32)}
    with pytest.raises(NothingToPrune, match="no block"):
        pruned(flattened(), "allocate", images, "params=0.9")


def test_another_target_is_planned_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timing = TimingOptions(measure_latency=False, cache_dir=tmp_path)
    first = allocated("params=0.8", timing=timing)
    assert len(list((tmp_path / "worth").iterdir())) == 1
    monkeypatch.setattr("graphprune.pass_infra.worth_cache.worths", None)  # nothing is measured again
    again, more = allocated("params=0.8", timing=timing), allocated("params=0.6", timing=timing)
    assert again.plan.units == first.plan.units
    assert again.plan.blocks == first.plan.blocks
    assert any("from the cache" in note for note in more.plan.decisions[0].notes)
    with pytest.raises(TypeError):  # other samples are measured
        allocated("params=0.8", timing=timing, data=DataOptions(samples=100))


def test_neurons_may_be_chosen_anew_in_the_walk() -> None:
    """The widths stay; what has been refitted on the way is written."""
    spec = "allocate{{shape=uniform,exclude=l*_attended,walk={}}}"
    plain, walked = (allocated("params=0.9", spec.format(walk)) for walk in ("false", "true"))
    one, other = plain.plan.units, walked.plan.units
    assert len(one) == SHAPE.layers
    assert [(units.group, len(units.removed)) for units in one] == [(u.group, len(u.removed)) for u in other]
    assert one[-1].scores != other[-1].scores
    assert walked.validation is not None
    assert walked.validation.max_relative_error < 1e-4
    assert walked.repair is not None
    assert [layer.method for layer in walked.repair.layers] == ["walk"] * len(other)


def test_a_spoilt_cache_is_measured_anew(tmp_path: Path) -> None:
    timing = TimingOptions(measure_latency=False, cache_dir=tmp_path)
    first = allocated("params=0.8", timing=timing)
    (path,) = (tmp_path / "worth").iterdir()
    for content in ("{", '{"schema": "other", "worths": []}', '{"schema": "graphprune.worth/1", "worths": []}'):
        path.write_text(content)
        assert allocated("params=0.8", timing=timing).plan.units == first.plan.units


def test_a_time_is_a_target() -> None:
    options = replace(QUIET, timing=TimingOptions(seconds=0.2, allow_slower=True))
    shape = Shape(layers=2, heads=4, kv_heads=4, depth=16, neurons=512, width=64)
    result = graphprune.prune(
        transformer(shape), ["allocate"], tokens(shape, samples=12, length=24), "latency=0.7", options=options
    )
    assert result.plan.asked == "latency=0.7"
    assert result.plan.units or result.plan.blocks


def test_without_samples_nothing_is_repaired() -> None:
    options = replace(QUIET, recovery=RecoveryOptions(), data=DataOptions(allow_made_up=True))
    proto = transformer(Shape(layers=2, neurons=20))
    result = graphprune.prune(proto, ["allocate"], None, "params=0.8", options=options)
    assert result.plan.repair == ()
