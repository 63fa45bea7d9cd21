"""``layer-ticket``: gradients and Hessians by finite differences, in one shot, and no repair."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

pytest.importorskip("torch")

import graphprune
from graphprune import RunOptions, TimingOptions
from graphprune.errors import DataError
from graphprune.ir.export import to_proto
from graphprune.ir.loading import load
from graphprune.report.result import Result
from graphprune.rewrite.initialise import initialise
from tests.graphs import build, initialisers, residual_mlp
from tests.passes.asking import decided
from tests.passes.tickets import by_hand, images, resnet, samples

NOTE = "the network was not made by graphprune init: tickets are meant for one that is not trained yet"


@pytest.mark.parametrize("kind", ["snip", "grasp"])
def test_blocks_have_the_figures_of_finite_differences(kind: str) -> None:
    """Whatever the batch, for this network has no norms."""
    proto, data, figures = residual_mlp(3, 5), samples(), by_hand(kind)
    pooled: dict[str, Callable[..., Any]] = {"sum": np.sum, "mean": np.mean}
    for pool, how in pooled.items():
        plan = decided(proto, f"layer-ticket{{score={kind},pool={pool},batch=7}}", data, "removed=2").plan
        wanted = [how(np.concatenate([figures[f"{k}{i}"].ravel() for k in "ab"])) for i in range(3)]
        assert [score.score for score in plan.blocks[0].scores] == pytest.approx(wanted, rel=1e-3, abs=2e-4)
        assert [block.score for block in plan.blocks] == pytest.approx(sorted(wanted)[:2], rel=1e-3, abs=2e-4)


def test_the_first_scores_serve_all_removals() -> None:
    """Of later ones the network so far may be asked."""
    proto, data = residual_mlp(4, 5), samples()
    once, anew = (
        decided(proto, f"layer-ticket{{reference={which}}}", data, "removed=2").plan.blocks
        for which in ("original", "current")
    )
    known = {score.unit: score.score for score in once[0].scores}
    assert {score.unit: score.score for score in once[1].scores}.items() <= known.items()
    assert {score.unit: score.score for score in anew[0].scores} == known


def test_a_softmax_at_the_end_is_undone() -> None:
    proto, data = residual_mlp(3, 5), samples()
    tail = build("(float[N,3] y) => (float[N,3] p) { p = Softmax(y) }")
    whole = onnx.compose.merge_models(proto, tail, [("y", "y")])
    one, other = (decided(each, "layer-ticket", data, "removed=1").plan.blocks[0].scores for each in (proto, whole))
    assert [score.score for score in one] == pytest.approx([score.score for score in other], rel=1e-4)


def test_what_goes_keeps_the_numbers_it_was_drawn_with() -> None:
    """There is no repair; and a note tells where the network is a trained one."""
    fresh = to_proto(initialise(load(residual_mlp(3, 5)), 1).model)
    result = kept(fresh, "layer-ticket", "removed=1")
    assert result.plan.repair == ()
    assert result.model is not None
    small, dense = initialisers(to_proto(result.model)), initialisers(fresh)
    assert all((small[name] == dense[name]).all() for name in small)
    assert NOTE not in result.notes
    assert NOTE in kept(residual_mlp(3, 5), "layer-ticket", "removed=1").notes


def test_norms_normalise_by_the_batch() -> None:
    """The running statistics, which say nothing yet, do not count."""
    proto, data = resnet(), images()
    other = onnx.ModelProto.FromString(proto.SerializeToString())
    for tensor in other.graph.initializer:
        if tensor.name[0] in "mv":
            tensor.CopyFrom(onnx.numpy_helper.from_array(3 * onnx.numpy_helper.to_array(tensor), tensor.name))
    spec = "layer-ticket{floor=0,skip_first=false}"
    one, two = (decided(each, spec, data, "removed=1").plan.blocks[0].scores for each in (proto, other))
    assert [score.score for score in one] == pytest.approx([score.score for score in two], rel=1e-4)


def test_refuses_what_it_cannot_work_with() -> None:
    proto, data = residual_mlp(3, 5), samples()
    with pytest.raises(DataError, match="has no labels, and an untrained network cannot stand in for them"):
        decided(proto, "layer-ticket", {"x": data["x"]}, "removed=1")
    with pytest.raises(DataError, match="no score for each class"):
        decided(proto, "layer-ticket", data | {"labels": data["labels"] + 1}, "removed=1")


def kept(proto: onnx.ModelProto, spec: str, target: str) -> Result:
    options = RunOptions(batch=7, timing=TimingOptions(measure_latency=False))
    return graphprune.prune(proto, [spec], samples(), target, options=options)
