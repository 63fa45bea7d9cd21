"""``filter-obs``: losses by least squares on activations taken from the model, and what then goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest

import graphprune
from graphprune import RecoveryOptions, RunOptions, RuntimeOptions, TimingOptions
from graphprune.errors import NothingToPrune, OptionError
from graphprune.importance import obs
from graphprune.ir.export import to_proto
from graphprune.repair import places
from graphprune.repair.gram import HalvedSums
from graphprune.run.notes import NO_DATA
from tests.graphs import build, initialisers, run
from tests.passes.asking import counts, decided, inner, pruned, removed, scores
from tests.repair.story import spread
from tests.small_cnns import flattened, grouped
from tests.token_graphs import Shape, tokens, transformer

if TYPE_CHECKING:
    from tests.zoo.fixtures import Zoo

pytest_plugins = ["tests.zoo.fixtures"]

RANDOM = np.random.default_rng(0)
IMAGES = {"x": RANDOM.standard_normal((96, 3, 8, 8)).astype(np.float32)}


def loss(x: np.ndarray, weights: np.ndarray, gone: np.ndarray, *, centred: bool) -> float:
    """Mean squared error without the inputs ``gone``, refitted, with a bias that takes the means if ``centred``."""
    x = x.astype(np.float64) - (x.mean(0, dtype=np.float64) if centred else 0.0)
    target = x @ weights
    found = np.linalg.lstsq(x[:, ~gone], target, rcond=None)[0]
    return float(np.sum((target - x[:, ~gone] @ found) ** 2) / len(x))


def exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses of the samples themselves, which say what is so on new ones as well."""

    def plain(sums: HalvedSums, *, is_centred: bool) -> np.ndarray:
        means = sums.whole.x / sums.whole.n * is_centred
        return np.asarray(sums.whole.xx / sums.whole.n - np.einsum("gi,gj->gij", means, means))

    monkeypatch.setattr(obs, "_DAMPING", 1e-13)
    monkeypatch.setattr("graphprune.repair.obs.shrunk", plain)


@pytest.mark.parametrize("per", ["unit", "cost"])
def test_neurons_by_what_the_next_layer_loses(monkeypatch: pytest.MonkeyPatch, per: str) -> None:
    exactly(monkeypatch)
    proto = flattened()
    w = initialisers(proto)
    spec = f"filter-obs{{include=fc1/neurons,per={per}}}"
    found = decided(proto, spec, IMAGES, "removed=1")
    j, y = inner(proto, IMAGES, "j", "y")
    alone = [loss(j, w["w5"], np.arange(10) == unit, centred=True) for unit in range(10)]
    assert removed(found)["fc1/neurons"] == [int(np.argmin(alone))]
    share = min(alone) / float(np.var(y, axis=0, dtype=np.float64).sum())
    saved = 8 * 16 + 4 if per == "cost" else 1
    assert scores(found)["fc1/neurons"].min() == pytest.approx(share / saved, rel=1e-3)


def test_filters_by_the_windows_of_the_next_convolution(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream is what the loss is a share of: the join, not the branch. No bias anywhere:
    nothing takes the means.
    """
    exactly(monkeypatch)
    proto = grouped()
    w = initialisers(proto)
    images = {"x": IMAGES["x"] + np.float32(1.0)}
    found = decided(proto, "filter-obs{include=c1/filters,per=unit}", images, "removed=1")
    c, e = inner(proto, images, "c", "e")
    padded = np.pad(c, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.stack([padded[:, :, i : i + 8, j : j + 8] for i in range(3) for j in range(3)], axis=2)
    rows = windows.reshape(96, 54, 64).transpose(0, 2, 1).reshape(-1, 54)
    weights = w["w3"].reshape(8, 54).T.astype(np.float64)
    alone = [loss(rows, weights, np.repeat(np.arange(6) == unit, 9), centred=False) for unit in range(6)]
    assert removed(found)["c1/filters"] == [int(np.argmin(alone))]
    share = min(alone) / float(np.var(e.transpose(1, 0, 2, 3).reshape(8, -1), axis=1, dtype=np.float64).sum())
    assert scores(found)["c1/filters"].min() == pytest.approx(share, rel=0.05)  # some positions stand for all


def test_unequal_shares_out_of_one_budget_and_a_valid_model() -> None:
    result = pruned(flattened(), "filter-obs", IMAGES, "flops=0.45")
    assert result.validation is not None and result.validation.max_relative_error < 1e-4
    shares = {len(units.removed) / units.size for units in result.plan.units}
    assert len(shares) > 1


def test_units_do_not_look_free_where_samples_are_fewer_than_units() -> None:
    """Sixteen samples are explained by any sixteen neurons, and the next one is not."""
    proto = build(
        "(float[N,24] x) => (float[N,4] y) { [fc1] h = MatMul(x, w1) [r] r = Relu(h) [fc2] y = MatMul(r, w2) }",
        {"w1": (24, 64), "w2": (64, 4)},
    )
    x = RANDOM.standard_normal((4000, 24)).astype(np.float32)
    few, many = (
        np.sort(scores(decided(proto, "filter-obs{per=unit,floor=0}", {"x": x[:count]}, "removed=32"))["fc1/neurons"])
        for count in (16, 4000)
    )
    assert few[:32].sum() > 0.3 * many[:32].sum()


def test_heads_and_neurons_of_a_transformer() -> None:
    """Key and value of two queries each: a head leaves as one unit, out of the same budget as the neurons."""
    shape = Shape(layers=2, kv_heads=2)
    result = pruned(transformer(shape), "filter-obs{floor=0}", tokens(shape, samples=40), "ratio=0.5")
    assert {units.kind for units in result.plan.units} == {"neurons", "kv-heads"}
    assert result.validation is not None and result.validation.max_relative_error < 1e-4


def test_made_up_inputs_are_pointed_out() -> None:
    assert NO_DATA.text in decided(flattened(), "filter-obs", None, "flops=0.8").notes


def test_the_same_twice() -> None:
    one, other = (decided(flattened(), "filter-obs", IMAGES, "flops=0.5") for _ in range(2))
    assert one.plan.to_json() == other.plan.to_json()


def test_without_a_bias_nothing_takes_the_means(monkeypatch: pytest.MonkeyPatch) -> None:
    exactly(monkeypatch)
    weights: dict[str, Sequence[int] | np.ndarray] = {"w1": np.eye(4, 3, dtype=np.float32), "w2": (3, 2)}
    proto = build(
        "(float[N,4] x) => (float[N,2] y) { [fc1] h = MatMul(x, w1) [r] r = Relu(h) [fc2] y = MatMul(r, w2) }", weights
    )
    x = {"x": np.float32(5) + RANDOM.standard_normal((64, 4)).astype(np.float32)}
    r, y = inner(proto, x, "r", "y")
    alone = [loss(r, initialisers(proto)["w2"], np.arange(3) == unit, centred=False) for unit in range(3)]
    found = decided(proto, "filter-obs{per=unit}", x, "removed=1")
    share = min(alone) / float(np.var(y, axis=0, dtype=np.float64).sum())
    assert scores(found)["fc1/neurons"].min() == pytest.approx(share, rel=1e-3)


def decoder() -> onnx.ModelProto:
    return build(
        """(float[N,3,8,8] x) => (float[N,4,h,w] y) { [c0] a = Conv<pads = [1, 1, 1, 1]>(x, w0) [r0] b = Relu(a)
        [c1] c = Conv(b, w1) [r1] d = Relu(c) [up] e = ConvTranspose<strides = [2, 2]>(d, w2) [r2] f = Relu(e)
        [c2] y = Conv(f, w3) }""",
        {"w0": (6, 3, 3, 3), "w1": (5, 6, 1, 1), "w2": (5, 4, 2, 2), "w3": (4, 4, 1, 1)},
    )


def test_filters_by_what_a_transposed_convolution_loses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where kernels do not overlap each place of the output reads one place of the input."""
    exactly(monkeypatch)
    monkeypatch.setattr(places, "ROWS_PER_INPUT", 10**6)
    proto = decoder()
    found = decided(proto, "filter-obs{include=c1/filters,per=unit}", IMAGES, "removed=1")
    d, e = inner(proto, IMAGES, "d", "e")
    rows = np.moveaxis(d, 1, -1).reshape(-1, 5)
    weights = initialisers(proto)["w2"].reshape(5, 16).astype(np.float64)
    alone = [loss(rows, weights, np.arange(5) == unit, centred=False) for unit in range(5)]
    assert removed(found)["c1/filters"] == [int(np.argmin(alone))]
    share = min(alone) / 4 / float(np.var(np.moveaxis(e, 1, -1).reshape(-1, 4), axis=0, dtype=np.float64).sum())
    assert scores(found)["c1/filters"].min() == pytest.approx(share, rel=1e-3)


def unreadable() -> onnx.ModelProto:
    """c1 is read by a GRU alone, c0 by c1."""
    return build(
        """(float[N,3,5] x) => (float[5,1,N,2] y) { [c0] a = Conv<pads = [1, 1]>(x, w0) [r0] b = Relu(a)
        [c1] c = Conv<pads = [1, 1]>(b, w1) [r1] d = Relu(c) [turn] e = Transpose<perm = [2, 0, 1]>(d)
        [rnn] y = GRU<hidden_size = 2>(e, w2, w3) }""",
        {"w0": (6, 3, 3), "w1": (5, 6, 3), "w2": (1, 6, 5), "w3": (1, 6, 2)},
    )


SEQUENCES = {"x": RANDOM.standard_normal((96, 3, 5)).astype(np.float32)}


def test_what_no_layer_reads_that_can_be_refitted_stays_whole() -> None:
    found = decided(unreadable(), "filter-obs", SEQUENCES, "removed=2")
    assert set(removed(found)) == {"c0/filters"}
    assert "left whole, for no layer reads them that could be refitted: c1/filters" in found.notes


def test_where_nothing_can_be_refitted() -> None:
    with pytest.raises(NothingToPrune, match="no score for c1/filters: no layer reads them that could be refitted"):
        decided(unreadable(), "filter-obs{include=c1/filters}", SEQUENCES, "removed=2")


QUIET = RunOptions(batch=8, align=1, timing=TimingOptions(measure_latency=False), runtime=RuntimeOptions(threads=1))
STACK = Shape(layers=2, neurons=12)
PROMPTS = tokens(STACK, samples=240)
WALK = "filter-obs{walk=true}"


def test_a_walk_takes_the_same_share_of_each_mlp_and_refits_it() -> None:
    """Heads stay whole. The weights that the walk has found are written; only readers of neurons have others."""
    proto = transformer(STACK)
    result = graphprune.prune(proto, [WALK], PROMPTS, "params=0.8", options=QUIET)
    assert set(counts(result)) == {"l0_up/neurons", "l1_up/neurons"}
    assert len(set(counts(result).values())) == 1
    assert result.plan.repair == ("walk",)
    assert result.repair is not None
    assert [(layer.layer, layer.is_kept) for layer in result.repair.layers] == [("l0_down", True), ("l1_down", True)]
    plain = graphprune.apply(proto, result.plan, PROMPTS, options=with_repair(()))
    assert result.model is not None
    assert plain.model is not None
    old, new = initialisers(to_proto(plain.model)), initialisers(to_proto(result.model))
    assert {name for name, values in old.items() if not np.array_equal(values, new[name])} == {"wdown0", "wdown1"}
    wanted = run(proto, PROMPTS)
    assert spread(run(to_proto(result.model), PROMPTS), wanted) < spread(run(to_proto(plain.model), PROMPTS), wanted)


def with_repair(methods: tuple[str, ...] | None) -> RunOptions:
    return replace(QUIET, recovery=RecoveryOptions(repair=methods))  # type: ignore[arg-type]  # words of the plan


def test_a_plan_made_in_a_walk_is_applied_in_one() -> None:
    direct = graphprune.prune(transformer(STACK), [WALK], PROMPTS, "params=0.8", options=QUIET)
    again = graphprune.apply(transformer(STACK), direct.plan, PROMPTS, options=QUIET)
    assert again.repair is not None
    assert again.repair.methods == ("walk",)
    assert direct.model is not None
    assert again.model is not None
    one, other = initialisers(to_proto(direct.model)), initialisers(to_proto(again.model))
    for name, values in one.items():
        np.testing.assert_allclose(values, other[name], atol=1e-4)


def test_another_repair_may_follow_a_walk() -> None:
    for methods in ((), ("ridge",)):
        result = graphprune.prune(transformer(STACK), [WALK], PROMPTS, "params=0.8", options=with_repair(methods))
        assert result.plan.repair == methods
        assert (result.repair is None) == (not methods)


def test_after_a_removed_block_the_walk_makes_up_for_it() -> None:
    """What came before counts as drift: the target is the network as given."""
    proto = transformer(STACK)
    passes = ["layer-cka{floor=0,exclude=l0_added|l1_attended|l1_added}", WALK]
    result = graphprune.prune(proto, passes, PROMPTS, "params=0.6", options=QUIET)
    assert result.plan.blocks
    assert result.plan.units
    assert result.plan.repair == ("walk",)
    plain = graphprune.apply(proto, result.plan, PROMPTS, options=with_repair(()))
    assert result.model is not None
    assert plain.model is not None
    wanted = run(proto, PROMPTS)
    assert spread(run(to_proto(result.model), PROMPTS), wanted) < spread(run(to_proto(plain.model), PROMPTS), wanted)


def test_a_walk_cuts_no_widths() -> None:
    with pytest.raises(OptionError, match="walks from MLP to MLP"):
        decided(transformer(STACK), "filter-obs{walk=true,widths=true}", PROMPTS, "params=0.8")


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_language_models_are_walked_by_default(zoo: Zoo, name: str, tmp_path: Path) -> None:
    """With a bias (gpt2) and without one; prompts are of different lengths."""
    path, feed = zoo(name, "torchscript")
    ids = np.random.default_rng(0).integers(1, 50, (240, feed["input_ids"].shape[1]))
    data = {"input_ids": ids.astype(np.int64), "attention_mask": (ids.cumsum(1) < 400).astype(np.int64)}
    result = graphprune.prune(
        path, ["filter-obs{attention=keep}"], data, "params=0.9", tmp_path / "small.onnx", options=QUIET
    )
    assert {units.kind for units in result.plan.units} == {"neurons"}
    assert result.plan.repair == ("walk",)
    assert result.repair is not None
    assert result.repair.kept
    other = graphprune.prune(path, ["filter-obs{walk=false}"], data, "params=0.9", dry_run=True, options=QUIET)
    assert other.plan.repair == ("stats", "ridge")
