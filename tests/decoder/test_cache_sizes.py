"""Free sizes of a cache come from the operators that read it."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest

from graphprune.decoder.cache_sizes import cache_sizes
from graphprune.ir.loading import load
from tests.decoder_graphs import Sizes, fused_decoder, plain_decoder


def _with_free(proto: onnx.ModelProto, axis: int, symbol: str) -> onnx.ModelProto:
    for value in (*proto.graph.input, *proto.graph.output):
        if value.name.startswith(("past", "present")):
            value.type.tensor_type.shape.dim[axis].dim_param = symbol
    return proto


@pytest.mark.parametrize("packed", [True, False])
def test_group_query_attention_tells_the_head_size_and_the_heads(packed: bool) -> None:
    proto = _with_free(fused_decoder(Sizes(layers=2, packed=packed)), 3, "kv_cache_dim")
    assert cache_sizes(load(proto)) == {"kv_cache_dim": 16}
    assert cache_sizes(load(_with_free(proto, 1, "kv_heads"))) == {"kv_cache_dim": 16, "kv_heads": 2}


def test_where_the_file_says_it_or_nothing_tells_there_is_no_size() -> None:
    assert cache_sizes(load(fused_decoder(Sizes(layers=1)))) == {}
    assert cache_sizes(load(_with_free(plain_decoder(Sizes(layers=1)), 3, "depth"))) == {}


_STANDARD = """<ir_version: 10, opset_import: ["" : 23]>
    g (float[n, s, 40] input_ids, float[n, s, 20] k, float[n, s, 12] v,
       float[n, 2, p, dk] past_0_key, float[n, 2, p, dv] past_0_value)
    => (float[n, s, 24] logits, float[n, 2, t, dk] present_0_key, float[n, 2, t, dv] present_0_value)
    { logits, present_0_key, present_0_value =
        Attention <q_num_heads = 4, kv_num_heads = 2> (input_ids, k, v, , past_0_key, past_0_value) }"""


def test_standard_attention_tells_keys_of_another_size_than_values() -> None:
    assert cache_sizes(load(onnx.parser.parse_model(_STANDARD))) == {"dk": 10, "dv": 6}


def test_readers_that_disagree_tell_nothing() -> None:
    one_symbol = _STANDARD.replace("dk]", "d]").replace("dv]", "d]")
    assert cache_sizes(load(onnx.parser.parse_model(one_symbol))) == {}


@pytest.mark.parametrize("has_bias", [True, False])
def test_where_shapes_are_not_known_weights_tell(has_bias: bool) -> None:
    proto = _with_free(fused_decoder(Sizes(layers=1)), 3, "kv_cache_dim")
    norm = next(node for node in proto.graph.node if node.output[0] == "normed0")
    norm.op_type, norm.domain = "SomeNorm", "some.where"  # nothing behind it has a known shape
    proto.opset_import.add(domain="some.where", version=1)
    if has_bias:
        attention = next(node for node in proto.graph.node if node.op_type == "GroupQueryAttention")
        place = list(proto.graph.node).index(attention)
        bias = onnx.helper.make_node("Add", ["packed0", "bias0"], ["biased0"])
        attention.input[0] = "biased0"
        proto.graph.node.insert(place, bias)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(128, np.float32), "bias0"))
    assert cache_sizes(load(proto)) == {"kv_cache_dim": 16}
