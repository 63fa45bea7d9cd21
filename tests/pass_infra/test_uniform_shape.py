"""``shape=uniform``: whole layers, one number of neurons, one number of heads."""

from __future__ import annotations

import numpy as np
import pytest

import graphprune
from graphprune import RunOptions, RuntimeOptions, TimingOptions
from graphprune.errors import NothingToPrune, OptionError, TargetNotReached
from graphprune.report.result import Result
from tests.graphs import initialisers
from tests.language_models import language_model, token_ids
from tests.passes.asking import counts, decided
from tests.repair.nets import with_weights
from tests.token_graphs import Shape

SHAPE = Shape(layers=4, heads=4, kv_heads=2, neurons=40, mask=True)
PROMPTS = token_ids(40, mask=True)
QUIET = RunOptions(batch=8, timing=TimingOptions(measure_latency=False), runtime=RuntimeOptions(threads=1))


def pruned(spec: str, target: str, align: int = 1, **weights: float) -> Result:
    """``weights`` are factors by name."""
    proto = language_model(SHAPE)
    proto = with_weights(proto, {name: np.float32(by) * initialisers(proto)[name] for name, by in weights.items()})
    options = graphprune.RunOptions(batch=8, align=align, timing=QUIET.timing, runtime=QUIET.runtime)
    return graphprune.prune(proto, [spec], PROMPTS, target, options=options)


@pytest.mark.parametrize(
    "spec",
    [
        "filter-magnitude{shape=uniform}",
        "neuron-projection{shape=uniform}",
        "filter-obs{shape=uniform}",
        "filter-obs{shape=uniform,walk=false}",
    ],
)
def test_layers_stay_alike(spec: str) -> None:
    """With multiples of eight the same share of each would differ from layer to layer."""
    result = pruned(spec, "params=0.83", align=8)
    for kind in ("neurons", "kv-heads", "heads"):
        left = {units.size - len(units.removed) for units in result.plan.units if units.kind == kind}
        cut = [units for units in result.plan.units if units.kind == kind]
        assert not cut or (len(left) == 1 and len(cut) == SHAPE.layers)
    assert result.plan.reached <= 0.83
    assert result.validation is not None
    assert result.validation.max_relative_error < 1e-4


def test_without_it_they_differ() -> None:
    assert len(set(counts(pruned("neuron-projection", "params=0.83", align=8)).values())) > 1


@pytest.mark.parametrize("target", ["params=0.9", "params=0.6", "flops=0.4"])
def test_allocated_layers_stay_alike(target: str) -> None:
    """A layer whose blocks write hardly anything goes as a whole; the others share one width."""
    result = pruned("allocate{shape=uniform}", target, wo2=1e-3, wdown2=1e-3)
    gone = {block.join for block in result.plan.blocks}
    assert {"l2_attended", "l2_added"} <= gone
    for i in range(SHAPE.layers):
        assert (f"l{i}_attended" in gone) == (f"l{i}_added" in gone)
    left = [len(units.removed) for units in result.plan.units]
    assert len(set(left)) <= 1
    assert len(left) in (0, SHAPE.layers - len(gone) // 2)
    assert result.plan.reached <= float(target.partition("=")[2])
    assert result.validation is not None
    assert result.validation.max_relative_error < 1e-4


def test_a_layer_that_keeps_a_block_keeps_both() -> None:
    """And where an MLP has to stay as it is, no other gets narrower."""
    result = pruned("allocate{shape=uniform,exclude=l1_attended}", "params=0.7")
    assert not {block.join for block in result.plan.blocks} & {"l1_attended", "l1_added"}
    with pytest.raises(TargetNotReached, match="with every layer on offer gone"):
        pruned("allocate{shape=uniform,exclude=l*_added}", "params=0.7")


def test_a_group_kept_by_name_keeps_all() -> None:
    with pytest.raises(NothingToPrune, match=r"stays whole, and there are equally many neurons") as told:
        pruned("neuron-projection{shape=uniform,exclude=l1_up}", "params=0.9")
    assert "shape=uniform" in told.value.fix


@pytest.mark.parametrize("option", ["uniform=false", "widths=true"])
def test_what_it_does_not_go_with(option: str) -> None:
    with pytest.raises(OptionError, match="leave one out"):
        decided(language_model(SHAPE), f"filter-magnitude{{shape=uniform,{option}}}", PROMPTS, "params=0.9")
