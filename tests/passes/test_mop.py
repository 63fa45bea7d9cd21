"""``mop``: a layer or as much width at each step; the rules of the paper, and arbiters that look at outputs."""

from __future__ import annotations

import re

import numpy as np
import pytest

from graphprune.errors import DataError, NothingToPrune, OptionError, TargetNotReached
from graphprune.ir.export import to_proto
from graphprune.passes.mop import RELEASED
from graphprune.report.result import Result
from tests.graphs import residual_mlp, run
from tests.language_models import language_model, token_ids
from tests.passes.asking import decided, pruned
from tests.token_graphs import Shape, tokens, transformer

SMALL = Shape(layers=6, heads=4, kv_heads=4, depth=3, neurons=24, width=8)
GROUPED = Shape(layers=6, heads=8, kv_heads=4, depth=2, neurons=24, width=8)


def layer_params(shape: Shape) -> int:
    return shape.kv_heads * shape.head_params + shape.neurons * shape.neuron_params


def layers_gone(result: Result) -> list[list[int]]:
    """Of every decision the layers whose blocks it names."""
    return [sorted({int(re.findall(r"\d+", b.join)[0]) for b in d.blocks}) for d in result.plan.decisions]


def test_the_third_to_last_layer_goes_attention_and_mlp_together() -> None:
    result = pruned(transformer(SMALL), "mop{path=L}", tokens(SMALL), "params=0.53")
    assert layers_gone(result) == [[3], [2], [1]]
    assert all(len(decision.blocks) == 2 for decision in result.plan.decisions)
    assert [step.kind for step in result.plan.trajectory] == ["layer"] * 3
    assert result.validation is not None and result.validation.max_relative_error < 1e-5


def test_the_last_two_layers_stay() -> None:
    with pytest.raises(TargetNotReached, match=r"the last two layers staying"):
        decided(transformer(SMALL), "mop{path=L,exclude_groups=*}", tokens(SMALL), "params=0.2")


def test_where_that_layer_is_kept_the_one_before_goes() -> None:
    result = decided(transformer(SMALL), "mop{path=L,exclude=l3_attended}", tokens(SMALL), "params=0.9")
    assert layers_gone(result) == [[2]]


def test_depth_by_angle_takes_the_layer_that_turns_least() -> None:
    """From what enters its attention to what leaves its MLP."""
    proto, feeds = transformer(SMALL), tokens(SMALL)
    for tensor in proto.graph.initializer:  # layer 4 does nothing
        if tensor.name in ("wo4", "wdown4"):
            tensor.raw_data = bytes(len(tensor.raw_data))
    result = decided(proto, "mop{path=L,depth=angular}", feeds, "params=0.8")
    assert layers_gone(result)[0] == [4]
    assert result.plan.blocks[0].score < 1e-6 < result.plan.blocks[2].score


def test_width_is_worth_a_layer_and_the_same_in_every_layer() -> None:
    shape = Shape(layers=4, heads=4, kv_heads=4, depth=3, neurons=24, width=8)
    result = pruned(transformer(shape), "mop{path=G}", tokens(shape), "params=0.8")
    (decision,) = result.plan.decisions
    assert {units.kind: len(units.removed) for units in decision.units} == {"heads": 1, "neurons": 6}
    assert len(decision.units) == 8
    saved = result.before.params - result.plan.trajectory[0].params
    assert abs(saved - layer_params(shape)) <= shape.layers * shape.neuron_params / 2
    for units in decision.units:  # scores within a layer
        assert list(units.removed) == sorted(np.argsort(units.scores)[: len(units.removed)])


def test_fractions_of_a_key_value_group_add_up() -> None:
    """A step of width is worth 4/6, then 4/5 ... of a group; two stay."""
    result = decided(transformer(GROUPED), "mop{path=G}", tokens(GROUPED), "params=0.45")
    groups = [
        {len(units.removed) for units in decision.units if units.kind == "kv-heads"}
        for decision in result.plan.decisions
    ]
    assert groups[0] == set()
    assert groups[1] == {1}
    assert sum(max(each, default=0) for each in groups) <= 2
    kept = decided(transformer(GROUPED), "mop{path=G,groups=4}", tokens(GROUPED), "params=0.6")
    assert {units.kind for units in kept.plan.units} == {"neurons"}


def test_multiples_that_would_cost_more_than_a_layer_are_halved() -> None:
    """Of 48 neurons a sixth would go: a step of 16 is worth two layers. Those asked for are kept."""
    shape = Shape(layers=6, heads=4, kv_heads=4, depth=3, neurons=48, width=8)
    result = decided(transformer(shape), "mop{path=G,width=neurons}", tokens(shape), "params=0.99", align="auto")
    saved = result.before.params - result.plan.trajectory[0].params
    assert saved == pytest.approx(layer_params(shape), rel=0.3)
    asked = decided(transformer(shape), "mop{path=G,width=neurons}", tokens(shape), "params=0.99", align=16)
    assert {len(units.removed) for units in asked.plan.units} == {16}


def test_neurons_alone() -> None:
    result = decided(transformer(SMALL), "mop{path=G,width=neurons}", tokens(SMALL), "params=0.8")
    assert {units.kind for units in result.plan.units} == {"neurons"}


@pytest.mark.parametrize("path", ["LGGL", *RELEASED])
def test_a_path_is_followed(path: str) -> None:
    result = decided(transformer(SMALL), f"mop{{path={path}}}", tokens(SMALL), "params=0.5")
    letters = RELEASED.get(path, path)
    kinds = ["layer" if letter == "L" else "units" for letter in letters]
    found = [step.kind for step in result.plan.trajectory]
    assert len(found) > 1
    assert found == kinds[: len(found)]
    assert {(step.arbiter, step.score, step.rival_kind) for step in result.plan.trajectory} == {("path", None, None)}


def test_the_released_paths_have_18_steps() -> None:
    assert all(len(path) == 18 and set(path) == {"L", "G"} for path in RELEASED.values())


def test_the_coin_is_seeded() -> None:
    def kinds(seed: int) -> list[str]:
        return [
            step.kind
            for step in decided(transformer(SMALL), "mop", tokens(SMALL), "params=0.4", seed=seed).plan.trajectory
        ]

    assert kinds(0) == kinds(0)
    assert len({tuple(kinds(seed)) for seed in range(6)}) > 1


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("arbiter", ["kl", "perplexity"])
def test_arbiters_judge_both_children_on_samples_that_did_not_choose(arbiter: str, mask: bool) -> None:
    """Figures the slow way, of the networks that paths make from the other half."""
    shape = Shape(layers=4, heads=4, kv_heads=4, depth=3, neurons=24, width=8, mask=mask)
    proto, feeds = language_model(shape), token_ids(mask=mask)
    step = decided(proto, f"mop{{arbiter={arbiter}}}", feeds, "params=0.9").plan.trajectory[0]
    half, other = ({name: array[start::2] for name, array in feeds.items()} for start in (0, 1))
    reference, known = run(proto, other)[0], other.get("attention_mask", np.ones(other["input_ids"].shape)) == 1
    figures = {}
    for kind, letter in (("layer", "L"), ("units", "G")):
        child = pruned(proto, f"mop{{path={letter}}}", half, "params=0.9").model
        assert child is not None
        logits = run(to_proto(child), other)[0]
        if arbiter == "kl":
            p, q = log_softmax(reference), log_softmax(logits)
            figures[kind] = (np.exp(p) * (p - q)).sum(-1)[known].mean()
        else:
            losses = -np.take_along_axis(log_softmax(logits[:, :-1]), other["input_ids"][:, 1:, None], -1)[..., 0]
            figures[kind] = np.exp(losses[known[:, 1:] & known[:, :-1]].mean())
    winner, loser = sorted(figures, key=figures.__getitem__)
    assert (step.kind, step.rival_kind, step.arbiter) == (winner, loser, arbiter)
    assert (step.score, step.rival_score) == pytest.approx((figures[winner], figures[loser]), rel=1e-5)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    wide = logits.astype(np.float64)
    return np.asarray(wide - np.log(np.exp(wide).sum(-1, keepdims=True)))


def test_a_whole_run_on_a_language_model() -> None:
    result = pruned(language_model(GROUPED), "mop{arbiter=kl}", token_ids(), "params=0.6")
    assert result.plan.reached <= 0.6
    assert result.validation is not None and result.validation.max_relative_error < 1e-5


@pytest.mark.parametrize(
    ("spec", "target", "error", "says"),
    [
        ("mop", "removed=3", OptionError, "pass mop weighs layers against units.*params= or flops="),
        ("mop{path=LXG}", "params=0.8", OptionError, "'LXG' is no path of pass mop.*released-1"),
        ("mop{samples=1}", "params=0.8", OptionError, "too small"),
        ("mop{groups=0}", "params=0.8", OptionError, "too small"),
        ("mop{exclude_groups=nothing}", "params=0.8", OptionError, "no group or layer is named 'nothing'"),
        ("mop{arbiter=perplexity}", "params=0.8", DataError, "none of the inputs x is 'input_ids'"),
    ],
)
def test_wrong_options(spec: str, target: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=f"(?s){says}"):
        decided(transformer(SMALL), spec, tokens(SMALL), target)


def test_without_attention_each_block_is_a_layer() -> None:
    proto = residual_mlp(6)
    data = {"x": np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32)}
    result = decided(proto, "mop{path=L}", data, "params=0.8")
    assert layers_gone(result)[0] == [3]
    assert all(len(decision.blocks) == 1 for decision in result.plan.decisions)


def test_nothing_to_remove() -> None:
    with pytest.raises(NothingToPrune, match="finds no layer"):
        decided(residual_mlp(0), "mop", None, "params=0.8")
