"""``joint-cka`` with other criteria, other measures, a handicap, and a coin."""

from __future__ import annotations

from dataclasses import replace

import pytest

import graphprune
from graphprune.errors import DataError, OptionError
from graphprune.importance.wasserstein import wasserstein
from graphprune.ir.export import to_proto
from graphprune.plan.plan import TrajectoryPoint
from tests.passes.asking import inner
from tests.passes.test_joint_cka import PLAIN, images, labelled, pruned, small_resnet


def steps(options: str, data: object, target: str = "flops=0.5", seed: int = 0) -> tuple[TrajectoryPoint, ...]:
    how = replace(PLAIN, seed=seed)
    spec = f"joint-cka{{refit=false,{options}}}"
    return graphprune.prune(small_resnet(), [spec], data, target, dry_run=True, options=how).plan.trajectory


@pytest.mark.parametrize(
    ("criterion", "layer", "units"),
    [
        ("obs", "layer-cka{rescore=none}", "filter-obs"),
        ("magnitude", "layer-magnitude", "filter-magnitude"),
        ("kl", "layer-kl", "filter-kl"),
        ("cka", "layer-cka{rescore=none}", "filter-cka"),
    ],
)
def test_one_criterion_makes_both_children(criterion: str, layer: str, units: str) -> None:
    """Both made by other passes from the even samples; the first step takes one of them."""
    data = images(32)
    (step, *_) = steps(f"criterion={criterion},match=flops", data, "flops=0.95")
    half = replace(PLAIN, data=replace(PLAIN.data, samples=16))
    gone = pruned(small_resnet(), layer, data[::2], "removed=1", half)
    left = gone.after.macs / gone.before.macs
    cut = pruned(small_resnet(), f"{units}{{scope=group,floor=0}}", data[::2], f"flops={left}", half)
    removed = [f"{each.group}: {len(each.removed)} of {each.size}" for each in cut.plan.units]
    assert list(step.removed) == ([gone.plan.blocks[0].name] if step.kind == "layer" else removed)
    won = gone if step.kind == "layer" else cut
    assert (step.macs, step.params) == (won.after.macs, won.after.params)


def test_a_distance_decides_in_place_of_cka() -> None:
    proto, data = small_resnet(), images(32)
    result = pruned(proto, "joint-cka{similarity=wasserstein,refit=false}", data, "flops=0.95", PLAIN)
    (step,) = result.plan.trajectory
    assert result.model is not None and step.arbiter == "wasserstein"
    base, after = (inner(each, {"x": data[1::2]}, "g")[0][:, :, 0, 0] for each in (proto, to_proto(result.model)))
    assert step.score == pytest.approx(wasserstein(base, after), rel=1e-5)
    assert step.rival_score is not None and step.score is not None and step.score < step.rival_score
    assert "judged by wasserstein on the odd ones" in " ".join(result.notes)
    for similarity in ("linear", "gaussian"):
        assert steps(f"similarity={similarity}", labelled(64))[0].arbiter == similarity
    with pytest.raises(DataError, match="similarity=gaussian cannot be told: the data has no labels"):
        steps("similarity=gaussian", images(32))


def test_epsilon_is_held_against_the_units() -> None:
    """By just more than the difference, in both measures; the figures that are told stay as they are."""
    for options in ("", "similarity=wasserstein,"):
        data = images(32)
        first = next(step for step in steps(f"{options}exclude=b0*|b1*|b2*", data) if step.kind == "filters")
        assert first.score is not None and first.rival_score is not None
        by = abs(first.score - first.rival_score)
        for epsilon, kind in ((0.9 * by, "filters"), (1.1 * by, "layer")):
            step = steps(f"{options}exclude=b0*|b1*|b2*,epsilon={epsilon}", data)[0]
            assert step.kind == kind
            assert {step.score, step.rival_score} == {first.score, first.rival_score}
    with pytest.raises(OptionError, match="epsilon of pass joint-cka is -1"):
        steps("epsilon=-1", images(32))


def test_a_coin_decides_as_a_baseline() -> None:
    paths = {seed: [step.kind for step in steps("select=random", images(32), seed=seed)] for seed in range(4)}
    assert paths[0] == [step.kind for step in steps("select=random", images(32), seed=0)]
    assert len({tuple(path) for path in paths.values()}) > 1
    (step, *_) = steps("select=random", images(32))
    assert (step.arbiter, step.score, step.rival_score) == ("random", None, None)
    assert step.rival_kind in {"layer", "filters"} - {step.kind}
