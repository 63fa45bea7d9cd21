"""``rescore=repaired``: what a block is worth shows after the layers behind it have taken over what they can."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

import graphprune
from graphprune import DataOptions, RecoveryOptions, RunOptions, RuntimeOptions, TimingOptions
from graphprune.errors import OptionError
from graphprune.importance.distance import StreamedDistance
from graphprune.importance.similarity import linear_cka
from graphprune.ir.export import to_proto
from graphprune.plan.plan import Plan
from graphprune.repair.stage import Method
from graphprune.repair.trials import RepairedTrials
from graphprune.report.result import Result
from graphprune.rewrite import remove_blocks
from tests.command import command
from tests.graphs import Arrays, build, random_feeds, residual_mlp, run
from tests.passes.last_layer import features
from tests.repair.candidates import trials
from tests.repair.nets import correlated, resnet
from tests.repair.story import spread, story

OPTIONS = RunOptions(batch=16, align=1, timing=TimingOptions(measure_latency=False), runtime=RuntimeOptions(threads=1))
RESCORE = "layer-cka{rescore=repaired}"


def deceptive() -> onnx.ModelProto:
    """Block ``large`` turns the stream by a linear map, which the layer behind it can do as well;
    block ``small`` changes it a little, by what no layer but itself can compute."""
    random = np.random.default_rng(4)
    turn = np.diag([3.0, -1.5, 2.0, -1.0, 0.0, 0.0]) + 0.3 * random.standard_normal((6, 6))
    return build(
        """(float[N,4] x) => (float[N,3] y) { [stem] s = MatMul(x, w0) [act] h0 = Tanh(s)
        [bend] p0 = MatMul(x, a0) [wave] q0 = Sin(p0) [give] r0 = MatMul(q0, b0) [near] h1 = Add(h0, r0)
        [first] p1 = MatMul(h1, a1) [hard] q1 = Sin(p1) [second] r1 = MatMul(q1, b1) [small] h2 = Add(h1, r1)
        [third] p2 = MatMul(h2, a2) [fourth] r2 = MatMul(p2, b2) [large] h3 = Add(h2, r2)
        [mid] m = Gemm(h3, w1, c1) [act2] n = Tanh(m) [head] y = MatMul(n, w2) }""",
        {
            "w0": (4, 6),
            "a0": (4, 6),
            "b0": (6, 6),
            "a1": np.asarray(4 * random.standard_normal((6, 12)), np.float32),
            "b1": np.asarray(0.12 * random.standard_normal((12, 6)), np.float32),
            "a2": np.asarray(turn, np.float32),
            "b2": np.eye(6, dtype=np.float32),
            "w1": np.asarray(0.3 * random.standard_normal((6, 8)), np.float32),
            "c1": (8,),
            "w2": (8, 3),
        },
    )


def decided(proto: onnx.ModelProto, spec: str, target: str = "removed=1", options: RunOptions = OPTIONS) -> Result:
    return graphprune.prune(proto, [spec], random_feeds(proto, 240), target, dry_run=True, options=options)


def left(proto: onnx.ModelProto, spec: str, feeds: Arrays) -> float:
    """How far the pruned and repaired network is from the original, on samples that nobody has seen."""
    result = graphprune.prune(proto, [spec], random_feeds(proto, 240), "removed=1", options=OPTIONS)
    assert result.model is not None
    return spread(run(to_proto(result.model), feeds), run(proto, feeds))


def test_where_both_disagree_the_repaired_choice_is_better() -> None:
    proto = deceptive()
    unseen = random_feeds(proto, 200, seed=9)
    cheap, judged = (decided(proto, spec).plan.blocks[0] for spec in ("layer-cka", RESCORE))
    assert (cheap.join, judged.join) == ("small", "large")
    assert left(proto, RESCORE, unseen) < 0.1 * left(proto, "layer-cka", unseen)


@pytest.mark.parametrize("judge", ["error", "cka"])
def test_both_scores_are_in_the_plan(judge: str) -> None:
    result = decided(deceptive(), f"layer-cka{{rescore=repaired,judge={judge}}}")
    block = result.plan.blocks[0]
    cheap = {score.unit: score.details["before repair"] for score in block.scores}
    assert block.score == min(score.score for score in block.scores)
    assert block.name == next(score.unit for score in block.scores if score.score == block.score)
    assert min(cheap, key=cheap.__getitem__) != block.name
    assert result.plan.decisions[0].score_title == {"error": "repaired error", "cka": "repaired 1-CKA"}[judge]
    assert Plan.from_dict(json.loads(result.plan.to_json())) == result.plan


def test_a_shortlist_of_one_is_the_cheap_choice_and_a_long_one_is_none() -> None:
    proto = residual_mlp(5)
    cheap = decided(
        proto, "layer-cka{samples=96}", options=replace(OPTIONS, data=replace(OPTIONS.data, samples=96))
    ).plan.blocks[0]
    one = decided(proto, "layer-cka{rescore=repaired,shortlist=1}").plan.blocks[0]
    assert one.name == cheap.name
    assert [score.unit for score in one.scores] == [cheap.name]
    assert one.scores[0].details["before repair"] == pytest.approx(cheap.score, abs=1e-6)
    exact, long = (decided(proto, f"layer-cka{{rescore=repaired,shortlist={n}}}", "removed=3").plan for n in (5, 99))
    assert exact.blocks == long.blocks
    assert [len(block.scores) for block in long.blocks] == [5, 4, 3]


def test_twice_the_same_plan() -> None:
    one, two = (decided(residual_mlp(4), RESCORE, "removed=3").plan.to_json() for _ in range(2))
    assert one == two


def test_the_number_of_refits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[RepairedTrials] = []
    honest = RepairedTrials.__enter__

    def watched(self: RepairedTrials) -> RepairedTrials:
        seen.append(self)
        return honest(self)

    monkeypatch.setattr(RepairedTrials, "__enter__", watched)
    decided(residual_mlp(6), "layer-cka{rescore=repaired,shortlist=2,refits=3}", "removed=3")
    assert [trials.refits for trials in seen] <= [3 * 2 * 3]


@pytest.mark.parametrize("reference", ["current", "original"])
def test_the_ranking_is_made_on_the_repaired_network(reference: str) -> None:
    """At the second step as at the first, and against the network as given if that is asked for."""
    proto = residual_mlp(4)
    feeds = {"x": random_feeds(proto, 240)["x"][:96]}
    blocks = decided(proto, f"layer-cka{{rescore=repaired,reference={reference}}}", "removed=2").plan.blocks
    bench = trials(story(proto, feeds), batch=16, refits=2)
    with bench:
        bench.judge([blocks[0].join], StreamedDistance)
        bench.settle(blocks[0].join)
        base = features(to_proto(bench.parent) if reference == "current" else proto, feeds["x"])
        for score in blocks[1].scores:
            block = next(b for b in bench.blocks.values() if b.join.endswith(score.unit[-1]))
            slow = 1 - linear_cka(base, features(to_proto(remove_blocks(bench.parent, [block])), feeds["x"]))
            assert score.details["before repair"] == pytest.approx(slow, abs=1e-5)


@pytest.mark.parametrize(
    ("spec", "methods", "says"),
    [
        (RESCORE, (), "no repair by ridge follows"),
        (RESCORE, ("stats",), "no repair by ridge follows"),
        ("layer-cka{rescore=repaired,shortlist=0}", None, "shortlist"),
        ("layer-cka{rescore=repaired,samples=2}", None, "samples"),
        ("layer-cka{rescore=repaired,refits=-1}", None, "refits"),
    ],
)
def test_refusals(spec: str, methods: tuple[Method, ...] | None, says: str) -> None:
    with pytest.raises(OptionError, match=says):
        decided(residual_mlp(3), spec, options=replace(OPTIONS, recovery=RecoveryOptions(repair=methods)))


def test_without_data_there_is_nothing_to_judge_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx.save(residual_mlp(3), tmp_path / "net.onnx")
    words = [
        tmp_path / "net.onnx",
        "--pass",
        RESCORE,
        "--target",
        "removed=1",
        "--no-bench",
        "--allow-made-up-data",
        "-o",
        tmp_path / "out.onnx",
    ]
    assert command(monkeypatch, *words) == 1
    assert "there is no data to repair with" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


def test_behind_a_pass_that_has_cut_filters() -> None:
    """The network as given is the measure, not what the first pass has left of it."""
    proto, feeds = resnet(4), correlated(60)
    cut = "filter-magnitude{ratio=0.2}"
    block = "layer-cka{rescore=repaired,floor=0,skip_first=false}"
    behind = graphprune.prune(proto, [cut, block], feeds, "flops=0.5", options=OPTIONS)
    assert behind.plan.units and behind.plan.blocks
    assert behind.validation is not None and behind.validation.max_relative_error < 1e-4
    first = behind.plan.blocks[0]
    alone = graphprune.prune(proto, [block], feeds, "removed=1", dry_run=True, options=OPTIONS).plan.blocks[0]
    assert first.score > next(score.score for score in alone.scores if score.unit == first.name)


def test_in_rounds_one_block_at_a_time() -> None:
    pytest.importorskip("torch", reason="training needs PyTorch")
    from graphprune.training import TrainOptions

    proto = residual_mlp(4)
    training = TrainOptions.parse("epochs=1,batch=16,lr=0.001,device=cpu,augment=none")
    options = replace(OPTIONS, recovery=replace(OPTIONS.recovery, finetune=training, finetune_every="removal"))
    result = graphprune.prune(proto, [RESCORE], random_feeds(proto, 64), "removed=2", options=options)
    assert [len(decision.blocks) for decision in result.plan.decisions] == [1, 1]
    assert len(result.training) == 2
    assert [len(decision.blocks[0].scores) for decision in result.plan.decisions] == [4, 3]


def titles(
    proto: onnx.ModelProto, feeds: Arrays | None, spec: str = "layer-cka", options: RunOptions = OPTIONS
) -> set[str]:
    """What the scores of a decision are."""
    plan = graphprune.prune(proto, [spec], feeds, "removed=1", dry_run=True, options=options).plan
    return {decision.score_title for decision in plan.decisions}


def test_by_itself_in_a_small_cnn_that_is_repaired() -> None:
    net, feeds = resnet(4), correlated(64)
    assert titles(net, feeds) == {"repaired error"}
    assert titles(net, feeds, "layer-cka{judge=cka}") == {"repaired 1-CKA"}
    assert titles(net, feeds, "layer-cka{rescore=none}") == {"1-CKA"}
    assert titles(net, feeds, "layer-consensus") == {"rank sum"}
    without_ridge: tuple[tuple[Method, ...], ...] = ((), ("stats",))
    for methods in without_ridge:
        options = replace(OPTIONS, recovery=RecoveryOptions(repair=methods))
        assert titles(net, feeds, options=options) == {"1-CKA"}
    assert titles(net, None) == {"1-CKA"}
    for samples, title in ((31, "1-CKA"), (32, "repaired error")):
        options = replace(OPTIONS, data=DataOptions(samples=samples))
        assert titles(net, feeds, options=options) == {title}


def test_not_by_itself_elsewhere() -> None:
    """Not measured for transformers, and too slow where a convolution reads thousands of values."""
    mlp = residual_mlp(4)
    assert titles(mlp, random_feeds(mlp, 64)) == {"1-CKA"}
    assert titles(resnet(4, inner=113), correlated(64)) == {"repaired error"}  # 9 * 113 = 1,017
    assert titles(resnet(4, inner=114), correlated(64)) == {"1-CKA"}
