"""``layer-angular``: the definition the slow way, padding, one pass for all removals; shortlists of other passes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from graphprune.analysis.blocks import Block
from graphprune.errors import DataError, OptionError
from graphprune.segments.runner import Environment, Segments
from tests.graphs import Arrays, build, residual_mlp, run
from tests.passes.asking import decided, inner, pruned
from tests.passes.last_layer import samples
from tests.token_graphs import Shape, tokens, transformer


def turned(entry: np.ndarray, exit_: np.ndarray) -> np.ndarray:
    """``1 - cos`` along the last axis, in float64."""
    one, other = entry.astype(np.float64), exit_.astype(np.float64)
    return np.asarray(1 - (one * other).sum(-1) / np.linalg.norm(one, axis=-1) / np.linalg.norm(other, axis=-1))


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("batch", [1, 4, 32])
def test_scores_are_the_mean_over_tokens_that_count(mask: bool, batch: int) -> None:
    shape = Shape(layers=3, mask=mask)
    proto, feeds = transformer(shape), tokens(shape)
    step = decided(proto, "layer-angular", feeds, "removed=1", batch=batch).plan.blocks[0]
    stream = [feeds["x"], *inner(proto, feeds, "a0", "h1", "a1", "h2", "a2", "h3")]
    counts = feeds.get("attention_mask", np.ones(feeds["x"].shape[:2])) == 1
    wanted = [turned(entry, exit_)[counts].mean() for entry, exit_ in pairwise(stream)]
    assert [score.score for score in step.scores] == pytest.approx(wanted, abs=1e-6)
    assert step.score == min(score.score for score in step.scores)
    assert all(score.standard_error > 0 for score in step.scores)


@pytest.mark.parametrize("dims", [1, 2])
def test_samples_take_the_place_of_tokens_in_a_cnn(dims: int) -> None:
    """Of signals as well, whose tensors have as many axes as those of tokens."""
    place, kernel = ",".join("6" * dims), (3,) * dims
    pads = f"pads = [{','.join('1' * 2 * dims)}]"
    proto = build(
        f"""(float[N,3,{place}] x) => (float[N,2] y) {{
        [stem] h0 = Conv<{pads}>(x, w0)
        [c1] a1 = Conv<{pads}>(h0, w1)  [add1] h1 = Add(h0, a1)
        [c2] a2 = Conv<{pads}>(h1, w2)  [add2] h2 = Add(h1, a2)
        [pool] p = GlobalAveragePool(h2)  [flat] f = Flatten(p)  [head] y = MatMul(f, w3)
        }}""",
        {"w0": (4, 3, *kernel), "w1": (4, 4, *kernel), "w2": (4, 4, *kernel), "w3": (4, 2)},
    )
    feeds = {"x": np.random.default_rng(0).standard_normal((9, 3, *[6] * dims)).astype(np.float32)}
    plan = decided(proto, "layer-angular{floor=0,skip_first=false}", feeds, "removed=1").plan
    h0, h1, h2 = (each.reshape(9, -1) for each in inner(proto, feeds, "h0", "h1", "h2"))
    wanted = [turned(h0, h1).mean(), turned(h1, h2).mean()]
    assert [score.score for score in plan.blocks[0].scores] == pytest.approx(wanted, abs=1e-6)


def test_one_pass_serves_all_removals() -> None:
    """Unless the network as pruned so far is asked about."""
    proto = residual_mlp(6)
    data = {"x": samples(proto)}
    once = decided(proto, "layer-angular", data, "removed=3", batch=32).plan.blocks
    first = {score.unit: score.score for score in once[0].scores}
    assert [block.name for block in once] == sorted(first, key=first.__getitem__)[:3]
    assert all(first[score.unit] == score.score for block in once for score in block.scores)
    again = decided(proto, "layer-angular{reference=current}", data, "removed=3", batch=32).plan.blocks
    assert [score.score for score in again[0].scores] == list(first.values())
    assert any(first[score.unit] != score.score for score in again[1].scores)


def test_the_angle_is_another_measure() -> None:
    proto = residual_mlp(2)
    data = {"x": samples(proto)}
    step = decided(proto, "layer-angular{measure=angle}", data, "removed=1").plan.blocks[0]
    stream = inner(proto, data, "h0", "h1", "h2")
    wanted = [np.mean(np.arccos(1 - turned(one, two)) / np.pi) for one, two in pairwise(stream)]
    assert [score.score for score in step.scores] == pytest.approx(wanted, abs=1e-6)


def test_it_removes_what_it_says_from_a_transformer() -> None:
    shape = Shape(layers=3)
    proto, feeds = transformer(shape), tokens(shape)
    result = pruned(proto, "layer-angular", feeds, "removed=2")
    assert len(result.plan.blocks) == 2
    assert result.after.params == result.before.params - sum(block.params for block in result.plan.blocks)


@pytest.mark.parametrize("spec", ["layer-cka", "layer-consensus"])
def test_a_shortlist_tries_those_that_turn_least(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    proto = residual_mlp(6)
    data = {"x": samples(proto)}
    angles = decided(proto, "layer-angular", data, "removed=1").plan.blocks[0].scores
    tried: list[str] = []
    without = Segments.without

    def noting(self: Segments, env: Environment, block: Block, removed: frozenset[str]) -> Environment:
        tried.append(block.name)
        return without(self, env, block, removed)

    monkeypatch.setattr(Segments, "without", noting)
    result = decided(proto, f"{spec}{{shortlist=2}}", data, "removed=1")
    step = result.plan.blocks[0]
    wanted = sorted(angles, key=lambda score: score.score)[:2]
    assert {score.unit for score in step.scores} == {score.unit for score in wanted} == set(tried)
    assert step.name == min(step.scores, key=lambda score: score.score).unit
    assert any("only the 2" in note for note in result.notes)
    whole = decided(proto, spec, data, "removed=1").plan.blocks[0]
    assert {score.unit: score.score for score in whole.scores}.items() >= {
        score.unit: score.score for score in step.scores
    }.items() or spec == "layer-consensus"  # ranks are among those tried


def test_a_shortlist_as_long_as_the_list_changes_nothing() -> None:
    proto = residual_mlp(4)
    data = {"x": samples(proto)}
    one, other = (decided(proto, spec, data, "removed=2") for spec in ("layer-cka", "layer-cka{shortlist=4}"))
    assert one.plan.blocks == other.plan.blocks
    assert not [note for note in other.notes if "tried" in note]


def test_a_shortlist_of_none_is_refused() -> None:
    proto = residual_mlp(2)
    with pytest.raises(OptionError, match="shortlist of layer-cka"):
        decided(proto, "layer-cka{shortlist=0}", {"x": samples(proto)}, "removed=1")


def test_activations_that_overflow_are_refused() -> None:
    proto = residual_mlp(2)
    data: Arrays = {"x": np.full((8, 4), 3e38, np.float32)}
    assert not np.isfinite(run(proto, data)[0]).all()
    with pytest.raises(DataError, match="not finite"):
        decided(proto, "layer-angular", data, "removed=1")
