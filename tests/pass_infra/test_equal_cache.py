"""All layers of a decoder keep equally many heads in the cache, unless asked otherwise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

import graphprune
from graphprune import RunOptions, TimingOptions
from graphprune.data.dataset import input_specs
from graphprune.decoder.interface import decoder_interface
from graphprune.decoder.steps import prefill
from graphprune.errors import NothingToPrune
from graphprune.ir.export import to_proto
from graphprune.ir.loading import load
from tests.decoder_graphs import Sizes, fused_decoder, plain_decoder
from tests.graphs import Arrays
from tests.passes.asking import counts, decided, pruned

_SIZES = Sizes(layers=2, heads=8, kv_heads=4)


def _prompts(proto: onnx.ModelProto) -> Arrays:
    model = load(proto)
    interface = decoder_interface(model)
    assert interface is not None
    ids = np.random.default_rng(0).integers(0, _SIZES.vocabulary, (4, 6))
    return prefill(interface, {spec.name: spec for spec in input_specs(model)}, ids)


@pytest.mark.parametrize("make", [fused_decoder, plain_decoder])
@pytest.mark.parametrize(
    "spec", ["head-projection", "filter-obs{walk=false,include=*kv-heads}", "head-projection{scope=group}"]
)
def test_layers_lose_equally_many(make: Callable[[Sizes], onnx.ModelProto], spec: str) -> None:
    proto = make(_SIZES)
    prompts = _prompts(proto)
    result = pruned(proto, spec, prompts, "ratio=0.5")
    assert list(counts(result).values()) == [2, 2]
    assert result.validation is not None and result.validation.max_relative_error < 1e-5
    assert result.model is not None
    assert {value.type.tensor_type.shape.dim[1].dim_value for value in result.model.header.graph.input[2:]} == {2}


def test_without_the_rule_they_compete() -> None:
    proto = fused_decoder(_SIZES)
    found = counts(decided(proto, "head-projection{uniform=false}", _prompts(proto), "removed=3"))
    assert sum(found.values()) == 3


def test_amp_is_uniform_by_nature() -> None:
    proto = plain_decoder(_SIZES)
    heads = [
        count
        for name, count in counts(pruned(proto, "amp", _prompts(proto), "params=0.8")).items()
        if name.endswith("kv-heads")
    ]
    assert heads == [1, 1]


def test_a_layer_that_must_stay_whole_keeps_the_others() -> None:
    proto = plain_decoder(_SIZES)
    prompts = _prompts(proto)
    with pytest.raises(NothingToPrune, match=r"stays whole, and the cache has equally many.*onnxruntime-genai") as told:
        decided(proto, "head-projection{include=MatMul_21/*}", prompts, "ratio=0.3")
    assert "uniform=false" in told.value.fix
    result = decided(proto, "head-projection{uniform=false,include=MatMul_21/*}", prompts, "ratio=0.5")
    assert list(counts(result).values()) == [2]


def test_where_they_differ_already_nothing_is_equal() -> None:
    proto = fused_decoder(_SIZES)
    uneven = pruned(proto, "head-projection{uniform=false}", _prompts(proto), "removed=1")
    assert uneven.model is not None
    again = to_proto(uneven.model)
    assert sum(counts(decided(again, "head-projection", _prompts(again), "removed=1")).values()) == 1


def test_two_passes_in_turn_take_the_samples_of_the_original() -> None:
    """With a cache that holds something, so that taking other heads of it would be seen."""
    proto = plain_decoder(_SIZES)
    prompts = _prompts(proto)
    generator = np.random.default_rng(1)
    for name in prompts:
        if name.startswith("past"):
            prompts[name] = generator.standard_normal((4, 4, 3, 16)).astype(np.float32)
    prompts["attention_mask"] = np.ones((4, 9), np.int64)
    options = RunOptions(align=1, batch=4, timing=TimingOptions(measure_latency=False))
    passes = ["head-projection{ratio=0.25}", "head-projection{ratio=0.34}", "neuron-projection{ratio=0.25}"]
    result = graphprune.prune(proto, passes, prompts, "params=0.75", options=options)
    assert [len(units.removed) for decision in result.plan.decisions for units in decision.units][:4] == [1, 1, 1, 1]
    assert result.repair is not None and result.repair.layers
