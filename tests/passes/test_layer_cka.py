"""``layer-cka`` removes what the definition says, in the paper's order, within the paper's rules."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import pytest

import graphprune
from graphprune import DataOptions, LayerCKA, RecoveryOptions, RunOptions, TimingOptions
from graphprune.analysis.blocks import Block, find_joins
from graphprune.errors import NothingToPrune, OptionError, TargetNotReached
from graphprune.importance.similarity import linear_cka
from graphprune.ir.export import to_proto
from graphprune.report.result import Result
from graphprune.rewrite import remove_blocks
from tests.graphs import residual_mlp
from tests.passes.last_layer import features, samples
from tests.repair.nets import correlated, resnet

QUIET = RunOptions(
    data=DataOptions(samples=200), timing=TimingOptions(measure_latency=False), recovery=RecoveryOptions(repair=())
)


def dry(source: Path | onnx.ModelProto, spec: LayerCKA | str, target: str, data: object) -> Result:
    options = (
        replace(QUIET, data=replace(QUIET.data, samples=64)) if isinstance(source, Path) else QUIET
    )  # of images; vectors cost nothing
    return graphprune.prune(source, [spec], data=data, target=target, dry_run=True, options=options)


@pytest.mark.parametrize("reference", ["current", "original"])
def test_greedy_order_follows_the_definition(reference: str) -> None:
    """Every score and every choice, recomputed the slow way: rewrite, run whole, batch CKA."""
    proto = residual_mlp(6)
    data = samples(proto)
    result = dry(proto, f"layer-cka{{reference={reference}}}", "removed=3", data)
    model = graphprune.load(proto)
    blocks = {join.block.name: join.block for join in find_joins(model) if join.block}
    gone: list[Block] = []
    for step in result.plan.blocks:
        base = features(to_proto(remove_blocks(model, gone if reference == "current" else [])), data)
        slow = {}
        for name, block in blocks.items():
            if block not in gone:
                slow[name] = 1 - linear_cka(base, features(to_proto(remove_blocks(model, [*gone, block])), data))
        assert {score.unit: pytest.approx(score.score, abs=1e-6) for score in step.scores} == slow
        assert step.name == min(slow, key=slow.__getitem__)
        assert step.score == pytest.approx(slow[step.name], abs=1e-6)
        assert step.standard_error > 0
        gone.append(blocks[step.name])


def test_debiased_scores_differ_and_match_the_batch_formula() -> None:
    proto = residual_mlp(4)
    data = samples(proto, 30)
    step = dry(proto, LayerCKA(debiased=True), "removed=1", data).plan.blocks[0]
    model = graphprune.load(proto)
    block = next(join.block for join in find_joins(model) if join.block and join.block.name == step.name)
    without = features(to_proto(remove_blocks(model, [block])), data)
    base = features(to_proto(model), data)
    assert step.score == pytest.approx(1 - linear_cka(base, without, debiased=True), abs=1e-6)
    assert abs(step.score - (1 - linear_cka(base, without))) > 1e-4


def test_stage_rules_of_the_papers(shipped: Path, calibration: Path) -> None:
    """Three stages of five blocks: the first of each stays, so do two in each."""
    result = dry(shipped, LayerCKA(), "removed=9", calibration)
    names = [block.name for block in result.plan.blocks]
    assert len(set(names)) == 9
    assert all(sum(name.startswith(f"stages.{stage}.") for name in names) == 3 for stage in range(3))
    assert not {"stages.0.0", "stages.1.0", "stages.2.0"} & set(names)
    first = result.plan.blocks[0]
    assert len(first.scores) == 12  # 4 candidates a stage
    assert first.score == min(score.score for score in first.scores)


def test_floor_binds_and_is_named(shipped: Path, calibration: Path) -> None:
    with pytest.raises(TargetNotReached) as caught:
        dry(shipped, LayerCKA(), "removed=10", calibration)
    assert "at most removed=9 with 9 blocks gone, because of the floor of 2 blocks per stage" in str(caught.value)
    with pytest.raises(TargetNotReached, match=r"at most flops=0\.38"):
        dry(shipped, LayerCKA(), "flops=0.3", calibration)


def test_most_leaves_the_rest_of_the_way_to_the_next_pass(shipped: Path, calibration: Path) -> None:
    passes = ["layer-cka{most=2}", "filter-magnitude"]
    few = RunOptions(data=DataOptions(samples=32), timing=TimingOptions(measure_latency=False))
    result = graphprune.prune(shipped, passes, calibration, "flops=0.6", dry_run=True, options=few)
    blocks, units = result.plan.decisions
    alone = graphprune.prune(shipped, "layer-cka", calibration, "removed=2", dry_run=True, options=few).plan.blocks
    assert [block.name for block in blocks.blocks] == [block.name for block in alone]
    assert units.units
    assert result.plan.reached <= 0.6 < 0.8 < 1 - sum(block.macs for block in alone) / result.before.macs
    with pytest.raises(
        TargetNotReached, match=r"with 2 blocks gone, .* and the limit of 2 that layer-cka\{most=2\} sets"
    ):
        dry(shipped, LayerCKA(most=2), "removed=3", calibration)
    with pytest.raises(OptionError, match=r"option most of layer-cka.* is 0"):
        dry(shipped, LayerCKA(most=0), "removed=3", calibration)


def test_rules_can_be_relaxed(shipped: Path, calibration: Path) -> None:
    small = RunOptions(
        data=DataOptions(samples=32), timing=TimingOptions(measure_latency=False), recovery=RecoveryOptions(repair=())
    )
    result = graphprune.prune(
        shipped,
        [LayerCKA(floor=0, skip_first=False)],
        data=calibration,
        target="removed=13",
        dry_run=True,
        options=small,
    )
    assert {"stages.0.0", "stages.0.1"} <= {block.name for block in result.plan.blocks}


def test_exclude_keeps_blocks(shipped: Path, calibration: Path) -> None:
    result = dry(shipped, LayerCKA(exclude=("stages.1.*",)), "removed=6", calibration)
    assert not any(block.name.startswith("stages.1.") for block in result.plan.blocks)
    with pytest.raises(OptionError, match=r"no block is named 'stages\.9\.\*'"):
        dry(shipped, LayerCKA(exclude=("stages.9.*",)), "removed=1", calibration)
    with pytest.raises(NothingToPrune, match="13 kept by the stage rules"):
        dry(shipped, LayerCKA(floor=5), "removed=1", calibration)


@pytest.mark.parametrize(("target", "left"), [("flops=0.8", 0.7943), ("params=0.9", None)])
def test_share_targets_stop_at_the_first_step_that_meets_them(
    shipped: Path, calibration: Path, target: str, left: float | None
) -> None:
    result = dry(shipped, LayerCKA(), target, calibration)
    asked = float(target.partition("=")[2])
    assert result.plan.reached <= asked
    if left is not None:
        assert result.plan.reached == pytest.approx(left, abs=1e-4)
    last = result.plan.blocks[-1]
    whole = result.before.macs if target.startswith("flops") else result.before.params
    assert result.plan.reached + (last.macs if target.startswith("flops") else last.params) / whole > asked


@pytest.mark.slow
def test_same_seed_same_plan_whatever_the_threads() -> None:
    plans = [
        graphprune.prune(
            resnet(6, width=16, inner=32),
            ["layer-cka"],
            correlated(40),
            "removed=2",
            dry_run=True,
            options=RunOptions(runtime=graphprune.RuntimeOptions(threads=threads)),
        ).plan.to_json()
        for threads in (1, 2, 3, 1)
    ]
    assert len(set(plans)) == 1


def test_representation_can_be_named(shipped: Path, calibration: Path) -> None:
    """Scored at the logits, the same network ranks by other numbers."""
    default = dry(shipped, LayerCKA(), "removed=1", calibration)
    named = dry(shipped, LayerCKA(representation=("logits",)), "removed=1", calibration)
    both = dry(shipped, LayerCKA(representation=("mean", "logits")), "removed=1", calibration)
    assert default.plan.decisions[0].representations == ("mean",)
    assert named.plan.decisions[0].representations == ("logits",)
    a, b, c = (result.plan.blocks[0].scores[0].score for result in (default, named, both))
    assert a != b
    assert c == pytest.approx((a + b) / 2, abs=1e-9)


def test_chunks_of_candidates_give_the_same_scores(
    shipped: Path, calibration: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a tiny memory budget candidates are scored one pass each."""
    from graphprune.pass_infra import block_pass

    whole = dry(shipped, LayerCKA(), "removed=1", calibration)
    monkeypatch.setattr(block_pass, "_MEMORY_BUDGET_BYTES", 1)
    assert dry(shipped, LayerCKA(), "removed=1", calibration).plan == whole.plan
