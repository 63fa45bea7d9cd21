"""How many positions a decoder has a table for."""

from __future__ import annotations

import numpy as np

from graphprune.decoder.context import context_length
from graphprune.ir.loading import load
from tests.decoder_graphs import Sizes, fused_decoder, plain_decoder
from tests.graphs import build, residual_mlp


def test_rows_of_the_rotary_tables() -> None:
    assert context_length(load(fused_decoder(Sizes(layers=1, positions=96)))) == 96


def test_nothing_is_known_where_there_is_no_table() -> None:
    assert context_length(load(plain_decoder(Sizes(layers=1)))) is None
    assert context_length(load(residual_mlp(2))) is None


def test_rows_of_learned_positions() -> None:
    proto = build(
        """(int64[N, S] input_ids, int64[N, S] position_ids, float[N, 1, P, 4] past_key_values_0_key)
        => (float[N, S, 4] logits, float[N, 1, T, 4] present_0_key) {
            place = Gather(table, position_ids)
            token = Gather(words, input_ids)
            logits = Add(place, token)
            axis = Unsqueeze(logits, one)
            present_0_key = Concat<axis = 2>(past_key_values_0_key, axis)
        }""",
        {"table": (24, 4), "words": (9, 4), "one": np.array([1])},
    )
    for value in (*proto.graph.input, *proto.graph.output):
        value.name = value.name.replace("past_key_values_0_key", "past_key_values.0.key")
    for node in proto.graph.node:
        node.input[:] = [name.replace("past_key_values_0_key", "past_key_values.0.key") for name in node.input]
        node.output[:] = [name.replace("present_0_key", "present.0.key") for name in node.output]
    proto.graph.output[1].name = "present.0.key"
    assert context_length(load(proto)) == 24
