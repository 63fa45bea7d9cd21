"""Samples that hold token ids only get mask, positions, types and an empty cache, as the model takes them."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import onnx
import onnx.parser
import pytest

from graphprune.data.dataset import TokenNames
from graphprune.errors import DataError
from graphprune.ir.loading import load
from graphprune.text.inputs import token_inputs
from graphprune.text.source import open_data
from tests.decoder_graphs import Sizes, fused_decoder, plain_decoder
from tests.graphs import residual_mlp, run

IDS = np.random.default_rng(0).integers(0, 40, (3, 6))


def _encoder(inputs: str) -> onnx.ModelProto:
    names = re.findall(r"\] (\w+)", inputs)
    casts = "".join(f"f{i} = Cast<to = 1>({name}) " for i, name in enumerate(names))
    total = f"y = Sum({', '.join(f'f{i}' for i in range(len(names)))})"
    return onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 17]> g ({inputs}) => (float[n, s] y) {{ {casts} {total} }}'
    )


@pytest.mark.parametrize("make", [fused_decoder, plain_decoder])
def test_a_decoder_gets_a_mask_and_an_empty_cache(make: Callable[..., onnx.ModelProto]) -> None:
    proto = make(Sizes(layers=2))
    data = open_data({"input_ids": IDS}, load(proto))
    (batch,) = data.batches(3)
    assert batch.feeds["past_key_values.1.value"].shape == (3, 2, 0, 16)
    np.testing.assert_array_equal(batch.feeds["attention_mask"], np.ones((3, 6)))
    assert run(proto, batch.feeds, ["logits"])[0].shape == (3, 6, 40)
    assert list(data.conversions.values()) == [
        "made beside the token ids of the given arrays: attention_mask and an empty cache"
    ]
    assert data.tokens == TokenNames("input_ids", "attention_mask")


def test_an_encoder_gets_types_of_zero_and_positions_counted_over_its_mask() -> None:
    proto = _encoder(
        "int64[n, s] input_ids, int32[n, s] attention_mask, int64[n, s] position_ids, int64[n, s] token_type_ids"
    )
    mask = np.array([[0, 0, 1, 1, 1, 1]] * 3)
    (batch,) = open_data({"input_ids": IDS, "attention_mask": mask}, load(proto)).batches(3)
    assert batch.feeds["attention_mask"].dtype == np.int32
    np.testing.assert_array_equal(batch.feeds["attention_mask"], mask)
    np.testing.assert_array_equal(batch.feeds["position_ids"][0], [0, 0, 0, 1, 2, 3])
    np.testing.assert_array_equal(batch.feeds["token_type_ids"], np.zeros((3, 6)))


def test_what_is_given_stays_and_needs_no_note() -> None:
    model = load(_encoder("int64[n, s] input_ids, int64[n, s] token_type_ids"))
    data = open_data({"input_ids": IDS, "token_type_ids": IDS}, model)
    (batch,) = data.batches(3)
    np.testing.assert_array_equal(batch.feeds["token_type_ids"], IDS)
    assert not data.conversions
    assert data.tokens is None


def test_beside_a_cache_that_is_given_nothing_is_made() -> None:
    past = {f"past_key_values.0.{kind}": np.zeros((3, 2, 4, 16), np.float32) for kind in ("key", "value")}
    data = open_data({"input_ids": IDS} | past, load(fused_decoder(Sizes(layers=1))))
    with pytest.raises(DataError, match="no array for input 'attention_mask'"):
        next(data.batches(1))


def test_a_head_size_that_nothing_tells_is_asked_for() -> None:
    proto = plain_decoder(Sizes(layers=1))
    for value in (*proto.graph.input, *proto.graph.output):
        if value.name.startswith(("past", "present")):
            value.type.tensor_type.shape.dim[3].dim_param = "depth"
    with pytest.raises(DataError, match="an empty cache cannot be made: no size for axis 'depth'"):
        next(open_data({"input_ids": IDS}, load(proto)).batches(1))


def test_the_only_input_takes_ids_under_any_name_if_it_is_of_integers() -> None:
    found = token_inputs(load(_encoder("int64[n, 128] tokens")))
    assert found is not None
    assert (found.names.ids, found.length) == ("tokens", 128)
    assert token_inputs(load(_encoder("int64[n, s] tokens, int64[n, s] other"))) is None
    assert token_inputs(load(residual_mlp(2))) is None
