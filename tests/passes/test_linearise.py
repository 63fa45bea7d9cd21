"""``linearise``: what is offered and chosen, what it saves, the plan carried out again, and what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

import graphprune
from graphprune import RecoveryOptions, RunOptions, RuntimeOptions, TimingOptions
from graphprune.analysis.cost import Cost
from graphprune.errors import NothingToPrune, OptionError, PlanError, TargetNotReached
from graphprune.ir.export import to_proto
from graphprune.ir.loading import load
from graphprune.passes.linearise import Linearise, needed
from graphprune.pipeline.apply_hf import apply_hf
from graphprune.pipeline.decide import context_of
from graphprune.plan.goal import Goal
from graphprune.plan.plan import Decision, Plan
from graphprune.plan.target import Target
from graphprune.repair.history import History
from graphprune.repair.refits import Refits
from graphprune.run.loaded import prepare
from tests.command import command
from tests.decoder_graphs import Sizes, fused_decoder, plain_decoder
from tests.digests import digest
from tests.graphs import build, run, tapped
from tests.linear_nets import stream, tokens
from tests.passes.asking import decided, pruned
from tests.repair.nets import correlated, resnet
from tests.token_graphs import Shape, transformer
from tests.token_graphs import tokens as masked_tokens

QUIET = RunOptions(batch=8, timing=TimingOptions(measure_latency=False), runtime=RuntimeOptions(threads=1))
IDS = {"input_ids": np.random.default_rng(0).integers(0, 40, (24, 6))}


def test_a_branch_that_is_linear_goes_first_and_nothing_is_lost() -> None:
    proto, feeds = stream(4, linear=(2,)), tokens()
    result = pruned(proto, "linearise", feeds, "removed=1", batch=8)
    (block,) = result.plan.blocks
    assert block.is_linearised
    assert block.name == "join2"
    assert block.score == pytest.approx(0, abs=1e-4)
    assert {score.unit for score in block.scores} == {f"join{i}" for i in range(4)}
    by_name = {score.unit: score for score in block.scores}
    assert by_name["join2"].details["unexplained"] < 1e-4 < by_name["join1"].details["unexplained"]
    assert result.before.macs - result.after.macs == block.macs
    assert result.before.params - result.after.params == block.params
    assert result.validation is not None
    assert result.validation.max_relative_error < 1e-5


def test_the_loss_is_that_of_the_outputs_with_the_map_in_place() -> None:
    """The first choice by hand: the representation is what the head reads. The next is judged on top of it."""
    proto, feeds = stream(3), tokens(40)
    plan = decided(proto, "linearise{samples=40}", feeds, "removed=2", batch=40).plan
    first, second = plan.blocks
    assert first.score == min(score.score for score in first.scores)
    assert {score.unit for score in second.scores} == {f"join{i}" for i in range(3)} - {first.name}
    for score in first.scores:
        alone = pruned_by(proto, [score.unit], feeds)
        assert score.score == pytest.approx(alone, rel=2e-2)


def pruned_by(proto: onnx.ModelProto, names: list[str], feeds: dict[str, np.ndarray]) -> float:
    """Squared error of what the head reads as a share of its variation, these blocks being linearised."""
    keep = "|".join(f"join{i}" for i in range(3) if f"join{i}" not in names)
    result = pruned(proto, f"linearise{{exclude={keep}}}", feeds, f"removed={len(names)}", batch=40)
    assert result.model is not None
    wanted, found = (tapped(each, feeds, ["h3"])["h3"].reshape(-1, 8) for each in (proto, to_proto(result.model)))
    return float(np.sum((found - wanted) ** 2) / np.sum((wanted - wanted.mean(axis=0)) ** 2))


def test_padding_neither_fits_nor_judges() -> None:
    proto, feeds = stream(3, mask=True), tokens(40)
    short = {"x": feeds["x"][:, :4], "attention_mask": np.ones((40, 4), np.int64)}
    padded = {"x": feeds["x"], "attention_mask": np.repeat([[1, 1, 1, 1, 0, 0]], 40, axis=0)}
    one, other = (decided(proto, "linearise", each, "removed=1").plan.blocks[0] for each in (short, padded))
    assert [s.score for s in one.scores] == pytest.approx([s.score for s in other.scores], rel=1e-4)


def test_what_a_later_block_has_made_superfluous_stays() -> None:
    block = pruned(stream(2), "linearise", tokens(), "removed=1").plan.blocks[0]
    small, middle, large = (replace(block, name=str(macs), macs=macs, params=macs) for macs in (10, 20, 40))
    decision = Decision("linearise", blocks=(small, middle, large), considered=3)
    for target, left in (("flops=0.3", [10, 20, 40]), ("flops=0.4", [20, 40]), ("flops=0.6", [40])):
        goal = Goal(Target.parse(target), Cost(100, 100))
        assert [each.macs for each in needed(goal, goal.dense, decision).blocks] == left
    goal = Goal(Target("removed", 3), Cost(100, 100))
    assert needed(goal, goal.dense, decision) == decision


def test_what_is_asked_for_is_taken() -> None:
    shape = Shape(layers=2)
    attentions = decided(transformer(shape), "linearise{among=attention}", masked_tokens(shape), "removed=2").plan
    assert sorted(block.name for block in attentions.blocks) == ["l0_attended", "l1_attended"]
    mlps = decided(transformer(shape), "linearise{among=mlp,exclude=l0*}", masked_tokens(shape), "removed=1").plan
    assert [block.name for block in mlps.blocks] == ["l1_added"]
    with pytest.raises(TargetNotReached, match=r"at most removed=1 with 1 block gone, because of the exclusion of l0"):
        decided(transformer(shape), "linearise{among=mlp,exclude=l0*}", masked_tokens(shape), "removed=2")
    with pytest.raises(OptionError, match="judges maps on 0 samples"):
        decided(transformer(shape), "linearise{samples=0}", masked_tokens(shape), "removed=2")


def test_a_map_that_is_not_cheaper_is_not_offered() -> None:
    proto = build(
        """(float[N,4,6,6] x) => (float[N,2] y) {
        [c1] a1 = Conv<group = 4>(x, w1) [add1] h1 = Add(x, a1)
        [pool] p = GlobalAveragePool(h1) [flat] f = Flatten(p) [head] y = MatMul(f, w2) }""",
        {"w1": (4, 1, 1, 1), "w2": (4, 2)},
    )
    feeds = {"x": np.random.default_rng(0).standard_normal((9, 4, 6, 6)).astype(np.float32)}
    with pytest.raises(NothingToPrune, match="1 linear-dearer"):
        decided(proto, "linearise", feeds, "removed=1")


@pytest.mark.parametrize(
    ("make", "feeds", "target"),
    [(lambda: resnet(3), correlated(24), "flops=0.7"), (lambda: transformer(Shape(layers=2)), None, "params=0.8")],
    ids=["images", "tokens"],
)
def test_apply_makes_the_same_file_again(
    make: Callable[[], onnx.ModelProto], feeds: dict[str, np.ndarray] | None, target: str, tmp_path: Path
) -> None:
    """With the usual repair behind it; and without samples it is refused."""
    feeds = feeds or masked_tokens(Shape(layers=2), samples=24)
    onnx.save(make(), tmp_path / "net.onnx")
    first, again, plan = (tmp_path / name for name in ("first.onnx", "again.onnx", "plan.json"))
    result = graphprune.prune(tmp_path / "net.onnx", ["linearise"], feeds, target, first, options=QUIET)
    assert result.repair is not None
    result.plan.save(plan)
    graphprune.apply(tmp_path / "net.onnx", plan, feeds, again, options=QUIET)
    assert digest(first) == digest(again)
    without = replace(QUIET, recovery=RecoveryOptions(repair=()))
    with pytest.raises(OptionError, match=r"linearises .*, which fits a map to samples, and there are none") as caught:
        graphprune.apply(tmp_path / "net.onnx", plan, None, tmp_path / "blind.onnx", options=without)
    assert "--data" in caught.value.fix


@pytest.mark.parametrize("make", [plain_decoder, fused_decoder])
def test_a_decoder_keeps_one_cache_and_loses_the_others(make: Callable[[Sizes], onnx.ModelProto]) -> None:
    proto = make(Sizes(layers=3))
    result = graphprune.prune(proto, ["linearise{among=attention}"], IDS, "removed=2", options=QUIET)
    assert result.model is not None
    assert [tensor.name for tensor in result.model.graph.outputs] == ["logits", "present.0.key", "present.0.value"]
    assert result.plan.repair == ()  # the maps have been fitted on what the network feeds them
    with pytest.raises(TargetNotReached, match="one layer keeps its cache"):
        decided(proto, "linearise{among=attention}", IDS, "removed=3")


def test_maps_and_removed_blocks_and_units_go_together() -> None:
    """Three passes, one after the other; each step is proved, and the repair comes last."""
    feeds = tokens(32)
    passes = ["layer-angular{exclude=join0|join1|join2}", "linearise{exclude=join0|join1}", "filter-magnitude"]
    result = graphprune.prune(stream(4), passes, feeds, "flops=0.45", options=replace(QUIET, align=1))
    assert [block.is_linearised for block in result.plan.blocks] == [False, True]
    assert result.plan.units
    assert result.repair is not None
    assert result.repair.kept


def test_old_plans_are_read_and_new_ones_come_back() -> None:
    result = pruned(stream(3), "linearise", tokens(), "removed=1")
    content = json.loads(result.plan.to_json())
    assert Plan.from_dict(content) == result.plan
    assert result.to_dict()["blocks_linearised"] == (result.plan.blocks[0].name,)
    assert result.to_dict()["blocks_removed"] == []
    for block in content["decisions"][0]["blocks"]:
        del block["is_linearised"]
    assert not Plan.from_dict(content).linearised


def test_plans_that_do_not_fit_are_refused_in_a_sentence(tmp_path: Path) -> None:
    result = pruned(stream(3), "linearise", tokens(), "removed=1")
    with pytest.raises(PlanError, match=r"linearises join., and transformers has no module for a linear map"):
        apply_hf(result.plan, tmp_path, tmp_path / "out")
    halved = build(
        """(float[N,4] x) => (float[N,2] y) { [a] p = MatMul(x, w1) [b] q = Tanh(p) [c] r = MatMul(q, w2)
        [e] h = Mul(x, gain) [join] s = Mean(h, r) [head] y = MatMul(s, w3) }""",
        {"w1": (4, 8), "w2": (8, 4), "w3": (4, 2), "gain": (4,)},
    )
    decision = result.plan.decisions[0]
    block = replace(decision.blocks[0], name="join", join="join", exit="s", entry="h")
    other = replace(result.plan, model_sha256=load(halved).sha256, decisions=(Decision("linearise", blocks=(block,)),))
    feeds = {"x": np.random.default_rng(0).standard_normal((9, 4)).astype(np.float32)}
    with pytest.raises(PlanError, match="the plan linearises join, and join does not end in a plain sum, but in Mean"):
        graphprune.apply(halved, other, feeds, options=QUIET)


def test_what_is_linearised_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx.save(stream(3), tmp_path / "net.onnx")
    np.savez(tmp_path / "calib.npz", **tokens())  # type: ignore[arg-type]
    words = ["--data", tmp_path / "calib.npz", "--pass", "linearise", "--target", "removed=1", "--threads", 1]
    page = tmp_path / "page.html"
    words += ["--no-bench", "-o", tmp_path / "out.onnx", "--report", page]
    assert command(monkeypatch, tmp_path / "net.onnx", *words) == 0
    told = capsys.readouterr().out
    assert any(re.match(r"linearised +error", line) for line in told.splitlines())
    assert not any(re.match(r"removed +error", line) for line in told.splitlines())
    assert "linearised as number 1" in page.read_text()
    assert run(tmp_path / "out.onnx", tokens(2))[0].shape == (2, 6, 3)


def test_for_a_time_its_maps_are_counted_with_what_they_cost() -> None:
    """The share of the MACs stands for the time until whole networks are timed."""
    loaded = prepare(stream(4), tokens(), QUIET)
    goal = Goal(Target("flops", 0.5), loaded.analysis.cost)
    context = context_of(loaded, loaded.analysis, goal, History(loaded.model), Refits(), None, QUIET)
    pass_ = Linearise()
    with ExitStack() as stack:
        decision = pass_.choices(context, stack)(context.goal)
    proposal = pass_.proposals(context, None)(0.5)  # type: ignore[arg-type]  # it needs no table
    assert proposal.thing.blocks == decision.blocks
    saved = sum(block.macs for block in decision.blocks)
    assert proposal.estimate == pytest.approx(1 - saved / context.analysis.cost.macs)
