"""Two steps through the cache give what one step over all tokens gives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from graphprune.data.dataset import input_specs
from graphprune.decoder.interface import DecoderInterface, decoder_interface
from graphprune.decoder.steps import Arrays, next_step, prefill
from graphprune.ir.loading import load
from tests.decoder_graphs import Sizes, fused_decoder, plain_decoder
from tests.graphs import residual_mlp, run


def _outputs(proto: onnx.ModelProto, feeds: Arrays) -> Arrays:
    names = [value.name for value in proto.graph.output]
    return dict(zip(names, run(proto, feeds, names), strict=True))


def _interface(proto: onnx.ModelProto) -> DecoderInterface:
    found = decoder_interface(load(proto))
    assert found is not None
    return found


@pytest.mark.parametrize("make", [fused_decoder, plain_decoder])
def test_a_step_with_the_cache_is_the_rest_of_one_step_over_all(make: Callable[..., onnx.ModelProto]) -> None:
    proto = make(Sizes())
    interface = _interface(proto)
    specs = {spec.name: spec for spec in input_specs(load(proto))}
    ids = np.random.default_rng(0).integers(0, 40, (2, 8))

    whole = _outputs(proto, prefill(interface, specs, ids))
    first = prefill(interface, specs, ids[:, :6])
    gave = _outputs(proto, first)
    second = next_step(interface, first, gave, ids[:, 6:7])
    then = _outputs(proto, second)
    last = _outputs(proto, next_step(interface, second, then, ids[:, 7:]))

    np.testing.assert_allclose(then["logits"], whole["logits"][:, 6:7], atol=1e-4)
    np.testing.assert_allclose(last["logits"], whole["logits"][:, 7:], atol=1e-4)


def test_each_past_belongs_to_its_present() -> None:
    interface = _interface(fused_decoder(Sizes(layers=2)))
    assert interface.layers == (0, 1)
    assert [(tensor.past, tensor.present, tensor.position_axis) for tensor in interface.cache[:2]] == [
        ("past_key_values.0.key", "present.0.key", 2),
        ("past_key_values.0.value", "present.0.value", 2),
    ]


def test_a_network_without_a_cache_has_no_such_interface() -> None:
    assert decoder_interface(load(residual_mlp(2))) is None


def test_a_size_the_file_leaves_free_is_asked_for() -> None:
    proto = fused_decoder(Sizes(layers=1))
    for value in (*proto.graph.input[2:], *proto.graph.output[1:]):
        value.type.tensor_type.shape.dim[3].dim_param = "kv_cache_dim"
    specs = {spec.name: spec for spec in input_specs(load(proto))}
    with pytest.raises(KeyError, match="kv_cache_dim"):
        prefill(_interface(proto), specs, np.zeros((1, 3), np.int64))
    feeds = prefill(_interface(proto), specs, np.zeros((1, 3), np.int64), sizes={"kv_cache_dim": 16})
    assert feeds["past_key_values.0.key"].shape == (1, 2, 0, 16)
