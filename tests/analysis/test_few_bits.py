"""Dense layers of a few bits: their weights stay whole, whole layers can go, and they cost what they compute."""

from __future__ import annotations

import numpy as np
import pytest

import graphprune
from graphprune import RecoveryOptions, RunOptions, TimingOptions
from graphprune.analysis.cost import model_cost
from graphprune.analysis.groups import find_groups
from graphprune.analysis.sizes import concrete_sizes
from graphprune.analysis.unit_cost import UnitCost
from graphprune.axes.infer import infer
from graphprune.data.dataset import input_specs
from graphprune.decoder.interface import decoder_interface
from graphprune.decoder.steps import prefill
from graphprune.errors import NothingToPrune
from graphprune.ir.loading import load
from graphprune.ir.model import Model
from graphprune.runtime.sessions import RuntimeOptions
from tests.decoder_graphs import Sizes, few_bits, fused_decoder
from tests.graphs import Arrays

_SIZES = Sizes(layers=2)


def _prompts(model: Model) -> Arrays:
    interface = decoder_interface(model)
    assert interface is not None
    ids = np.random.default_rng(0).integers(0, _SIZES.vocabulary, (4, 6))
    return prefill(interface, {spec.name: spec for spec in input_specs(model)}, ids)


def test_everything_around_them_is_typed_and_they_cost_as_much_as_before() -> None:
    whole, packed = load(fused_decoder(_SIZES)), load(few_bits(fused_decoder(_SIZES)))
    typing = infer(packed)
    assert not typing.missing
    (stream,) = find_groups(packed, typing)  # what the embedding writes; nothing else has weights that could be cut
    assert stream.freeze is not None
    options = RuntimeOptions(threads=1)
    costs = []
    for model in (whole, packed):
        sizes = concrete_sizes(model, _prompts(model), options)
        costs.append(model_cost(model, sizes))
        predicted = UnitCost(model, infer(model), sizes)
        assert (predicted.macs, predicted.params) == (costs[-1].macs, costs[-1].params)
    assert costs[0].macs == costs[1].macs
    scales = sum(
        int(np.prod(tensor.dims))
        for tensor in few_bits(fused_decoder(_SIZES)).graph.initializer
        if tensor.name.endswith("_scales")
    )
    assert costs[1].params == costs[0].params + scales


def test_units_stay_and_the_reason_is_said() -> None:
    proto = few_bits(fused_decoder(_SIZES))
    options = RunOptions(timing=TimingOptions(measure_latency=False), recovery=RecoveryOptions(repair=()))
    with pytest.raises(NothingToPrune):
        graphprune.prune(proto, "neuron-projection", _prompts(load(proto)), "ratio=0.3", options=options)


def test_whole_layers_can_go() -> None:
    proto = few_bits(fused_decoder(_SIZES))
    options = RunOptions(timing=TimingOptions(measure_latency=False), recovery=RecoveryOptions(repair=()))
    result = graphprune.prune(proto, "layer-cka{floor=0}", _prompts(load(proto)), "removed=1", options=options)
    assert result.validation is not None and result.validation.max_relative_error < 1e-5
    assert result.after.macs < result.before.macs
