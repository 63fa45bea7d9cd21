"""``layer-consensus`` removes what the definition says: eight dissimilarities of the same features, ranked,
and the ranks added up.
"""

from __future__ import annotations

import json
import math

import numpy as np
import onnx
import pytest
from scipy.stats import rankdata

import graphprune
from graphprune import DataOptions, RecoveryOptions, RunOptions, TimingOptions
from graphprune.analysis.blocks import Block, find_joins
from graphprune.analysis.stages import Allowance
from graphprune.errors import DataError, OptionError
from graphprune.importance.shape_metrics import Products, linear, permutation
from graphprune.importance.similarity import linear_cka
from graphprune.importance.stochastic_metrics import gaussian_stochastic
from graphprune.importance.wasserstein import wasserstein
from graphprune.ir.export import to_proto
from graphprune.pass_infra import block_pass
from graphprune.pass_infra.base import parse_spec
from graphprune.passes import find
from graphprune.passes.layer_consensus import LayerConsensus
from graphprune.plan.plan import Plan, Score
from graphprune.report.result import Result
from graphprune.rewrite import remove_blocks
from graphprune.scoring.dissimilarity import METRICS, Dissimilarities
from tests.graphs import build, residual_mlp
from tests.passes.last_layer import features, samples

QUIET = RunOptions(
    batch=16,
    data=DataOptions(samples=200),
    timing=TimingOptions(measure_latency=False),
    recovery=RecoveryOptions(repair=()),
)
GAUSSIAN = [f"gaussian_stochastic_{alpha}" for alpha in range(3)]


def labelled(proto: onnx.ModelProto, count: int = 60) -> dict[str, np.ndarray]:
    """Samples in three classes of unequal size."""
    return {"x": samples(proto, count), "labels": np.random.default_rng(4).choice(3, count, p=[0.5, 0.3, 0.2])}


def dry(proto: onnx.ModelProto, spec: LayerConsensus | str, data: object, target: str = "removed=2") -> Result:
    return graphprune.prune(proto, [spec], data=data, target=target, dry_run=True, options=QUIET)


def by_definition(x: np.ndarray, y: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    products = Products.of(x, y)
    gaussian = {name: gaussian_stochastic(x, y, labels, alpha) for alpha, name in enumerate(GAUSSIAN)}
    return gaussian | {
        "cka": 1 - linear_cka(x, y),
        "permutation": permutation(products),
        "linear_1": linear(products, 1),
        "linear_0": linear(products, 0),
        "wasserstein": wasserstein(x, y),
    }


@pytest.mark.parametrize("reference", ["current", "original"])
def test_greedy_order_follows_the_definition(reference: str) -> None:
    """Every distance, rank and choice, recomputed the slow way: rewrite, run whole, metrics on whole arrays."""
    proto = residual_mlp(5)
    data = labelled(proto)
    result = dry(proto, f"layer-consensus{{reference={reference}}}", data)
    model = graphprune.load(proto)
    blocks = {join.block.name: join.block for join in find_joins(model) if join.block}
    gone: list[Block] = []
    for step in result.plan.blocks:
        base = features(to_proto(remove_blocks(model, gone if reference == "current" else [])), data["x"])
        left = [block for block in blocks.values() if block not in gone]
        without = [features(to_proto(remove_blocks(model, [*gone, block])), data["x"]) for block in left]
        slow = [by_definition(base, each, data["labels"]) for each in without]
        for score, block, expected in zip(step.scores, left, slow, strict=True):
            assert score.unit == block.name
            assert list(score.details) == list(METRICS)
            assert score.details == pytest.approx(expected, rel=1e-3, abs=1e-6)
        table = [rankdata([each[metric] for each in slow], method="ordinal") for metric in METRICS]
        sums = np.sum(table, axis=0)
        assert [score.score for score in step.scores] == sums.tolist()
        spread = np.sqrt(8) * np.std(table, axis=0, ddof=1)
        assert [score.standard_error for score in step.scores] == pytest.approx(spread.tolist())
        first = min(range(len(left)), key=lambda i: (sums[i], slow[i]["cka"]))
        assert step.name == left[first].name
        gone.append(left[first])
    assert result.plan.decisions[0].notes == ()


def test_shuffled_candidates_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The authors' code removes whatever stands first in its sorted list."""
    proto = residual_mlp(5)
    data = labelled(proto)
    expected = dry(proto, "layer-consensus", data).plan.blocks
    allowed = Allowance.allowed
    for seed in range(2):
        generator = np.random.default_rng(seed)

        def shuffled(
            self: Allowance, removed: frozenset[str], generator: np.random.Generator = generator
        ) -> list[Block]:
            listed = allowed(self, removed)
            return [listed[index] for index in generator.permutation(len(listed))]

        monkeypatch.setattr(Allowance, "allowed", shuffled)
        found = dry(proto, "layer-consensus", data).plan.blocks
        assert [block.name for block in found] == [block.name for block in expected]
        for one, other in zip(found, expected, strict=True):
            assert sorted(one.scores, key=str) == sorted(other.scores, key=str)


def test_equal_candidates_keep_their_depth_however_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Branches multiplied by zero are all at distance zero: ranks go by place in the network."""
    proto = residual_mlp(4)
    for tensor in proto.graph.initializer:
        if tensor.name.startswith("b"):
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.zeros(tuple(tensor.dims), np.float32), tensor.name))
    data = labelled(proto)
    (straight,) = dry(proto, "layer-consensus", data, "removed=1").plan.blocks
    assert [score.score for score in straight.scores] == [8, 16, 24, 32]
    assert straight.name == straight.scores[0].unit
    allowed = Allowance.allowed
    monkeypatch.setattr(Allowance, "allowed", lambda self, removed: allowed(self, removed)[::-1])
    (reverse,) = dry(proto, "layer-consensus", data, "removed=1").plan.blocks
    assert (reverse.name, reverse.scores) == (straight.name, straight.scores[::-1])


def test_ties_go_by_the_first_metric() -> None:
    scores = [
        Score("a", 9.0, 0.0, {"cka": 0.3, "wasserstein": 0.1}),
        Score("b", 8.0, 0.0, {"cka": 0.3, "wasserstein": 0.1}),
        Score("c", 8.0, 0.0, {"cka": 0.2, "wasserstein": 0.4}),
        Score("d", 8.0, 0.0, {"cka": 0.2, "wasserstein": 0.5}),
        Score("e", 8.0, 0.0, {"wasserstein": 0.0}),  # its CKA is not finite
    ]
    assert LayerConsensus().choose(scores) == 2
    assert LayerConsensus(metrics=("wasserstein", "cka")).choose(scores) == 4
    assert (
        LayerConsensus(metrics=("gaussian_stochastic_0", "cka")).choose(scores) == 2
    )  # the first one that was possible


def test_cka_alone_is_layer_cka() -> None:
    proto = residual_mlp(6)
    data = samples(proto)
    alone = dry(proto, "layer-consensus{metrics=cka}", data, "removed=4").plan.blocks
    other = graphprune.prune(proto, ["layer-cka"], data, "removed=4", dry_run=True, options=QUIET).plan.blocks
    assert [block.name for block in alone] == [block.name for block in other]
    for one, two in zip(alone, other, strict=True):
        assert {score.unit: score.details["cka"] for score in one.scores} == pytest.approx(
            {score.unit: score.score for score in two.scores}, abs=1e-12
        )
        assert (one.score, one.standard_error) == (1, 0)


def test_without_labels_the_gaussian_metrics_are_left_out_and_a_note_says_so() -> None:
    proto = residual_mlp(4)
    result = dry(proto, "layer-consensus", samples(proto))
    assert result.plan.decisions[0].notes == (f"the data has no labels: left out {', '.join(GAUSSIAN)}",)
    assert set(result.notes) >= set(result.plan.decisions[0].notes)
    for step in result.plan.blocks:
        assert all(list(score.details) == [name for name in METRICS if name not in GAUSSIAN] for score in step.scores)
        assert sum(score.score for score in step.scores) == 5 * sum(range(1, len(step.scores) + 1))


def test_as_many_features_as_samples_leave_linear_0_out() -> None:
    proto = residual_mlp(4)
    (note,) = dry(proto, "layer-consensus", labelled(proto, 8)).plan.decisions[0].notes
    assert note == "8 samples of 8 features can always be mapped onto each other: left out linear_0"
    assert not dry(proto, "layer-consensus", labelled(proto, 9)).plan.decisions[0].notes
    with pytest.raises(DataError, match=r"none of the metrics of layer-consensus\{metrics=linear_0\}.*8 samples of 8"):
        dry(proto, "layer-consensus{metrics=linear_0}", labelled(proto, 8))


def test_features_of_positions_have_no_labels() -> None:
    """One label a sequence, three positions in it: their features are rows, and no class is known of a row."""
    text = "(float[N,3,4] x) => (float[N,3,2] y) {"
    weights = {"w": (4, 8), "v": (8, 2)}
    for i in range(3):
        weights |= {f"a{i}": (8, 8)}
    chain = " ".join(f"p{i} = MatMul(h{i}, a{i}) q{i} = Tanh(p{i}) h{i + 1} = Add(h{i}, q{i})" for i in range(3))
    proto = build(f"{text} h0 = MatMul(x, w) {chain} y = MatMul(h3, v) }}", weights)
    rows = np.random.default_rng(0).standard_normal((30, 3, 4)).astype(np.float32)
    result = dry(proto, "layer-consensus", {"x": rows, "labels": np.arange(30) % 3}, "removed=1")
    assert result.plan.decisions[0].notes == (
        f"the features are of positions, the labels of samples: left out {', '.join(GAUSSIAN)}",
    )
    assert set(result.plan.blocks[0].scores[0].details) == {*METRICS} - {*GAUSSIAN}


def test_metrics_can_be_chosen() -> None:
    proto = residual_mlp(4)
    spec = "layer-consensus{metrics=wasserstein|gaussian_stochastic_2}"
    assert str(parse_spec(spec, find)) == spec
    result = dry(proto, spec, labelled(proto))
    assert all(list(each.details) == ["wasserstein", GAUSSIAN[2]] for each in result.plan.blocks[0].scores)
    assert result.plan.decisions[0].spec == spec


def test_wrong_metrics_are_refused() -> None:
    with pytest.raises(OptionError, match=r"no metric 'ckb'(?s:.)*cka, permutation, linear_1, .*, wasserstein"):
        parse_spec("layer-consensus{metrics=cka|ckb}", find)
    with pytest.raises(OptionError, match="cka is named twice"):
        LayerConsensus(metrics=("cka", "cka"))
    with pytest.raises(OptionError, match="no metric"):
        LayerConsensus(metrics=())


def test_several_representations_take_the_mean_of_each_metric() -> None:
    proto = residual_mlp(4)
    data = labelled(proto)
    found = [
        dry(proto, f"layer-consensus{{representation={names}}}", data, "removed=1").plan.blocks[0].scores
        for names in ("h4", "y", "h4|y")
    ]
    for one, other, both in zip(*found, strict=True):
        for metric in METRICS:
            assert both.details[metric] == pytest.approx((one.details[metric] + other.details[metric]) / 2, abs=1e-9)


def test_portions_and_threads_give_the_same_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scored one candidate at a time, ranks are still among all of them; and the plan comes back from JSON."""
    proto = residual_mlp(5)
    data = labelled(proto)
    expected = dry(proto, "layer-consensus", data).plan
    assert Plan.from_dict(json.loads(expected.to_json())) == expected
    monkeypatch.setattr(block_pass, "_MEMORY_BUDGET_BYTES", 1)
    assert dry(proto, "layer-consensus", data).plan == expected


def test_rows_are_kept_only_for_metrics_that_need_them() -> None:
    streamed, kept = ("cka", "permutation", "linear_0", "linear_1"), ("cka", "wasserstein")
    assert Dissimilarities.memory_bytes(streamed, 10**9, 100) == 32 * 100**2
    assert Dissimilarities.memory_bytes(kept, 10**9, 100) == 32 * 100**2 + 4 * 100 * 10**9
    generator = np.random.default_rng(0)
    comparison = Dissimilarities(streamed)
    for _ in range(50):
        comparison.reference(generator.standard_normal((16, 4)))
        comparison.candidate(0, generator.standard_normal((16, 4)))
    assert not comparison._reference and not comparison._candidates
    assert comparison.rows == 800


@pytest.mark.filterwarnings("ignore:invalid value")
def test_features_that_are_not_finite_are_like_nothing() -> None:
    """A block whose removal makes the network overflow ranks last in every metric; its plan stays valid JSON."""
    generator = np.random.default_rng(0)
    x = generator.standard_normal((30, 4))
    for broken in (np.full_like(x, np.nan), np.where(x > 1, np.inf, x)):
        comparison = Dissimilarities(METRICS)
        comparison.reference(x, np.arange(30) % 2)
        for index, rows in enumerate((x + 0.1 * generator.standard_normal(x.shape), broken)):
            comparison.candidate(index, rows)
        sound, wrong = (comparison.result(index).values for index in (0, 1))
        for metric in METRICS:
            assert sound[metric] < wrong[metric], metric
            assert not math.isnan(wrong[metric])
