from __future__ import annotations

from graphprune.model_folder.counts import cache_counts, mlp_sizes, surviving_layers
from tests.decoder_graphs import Sizes, fused_decoder
from tests.model_folder.by_hand import dense, model_of, without_attention, without_layer


def test_the_cache_tells_layers_heads_and_head_size() -> None:
    counts = cache_counts(model_of(dense()))
    assert counts is not None
    assert (counts.layers, counts.kv_heads, counts.head_dims, counts.query_heads) == (3, (2, 2, 2), (16, 16, 16), ())


def test_fused_attention_tells_its_query_heads() -> None:
    counts = cache_counts(model_of(fused_decoder(Sizes(heads=6, kv_heads=3, layers=2))))
    assert counts is not None and counts.query_heads == (6, 6)


def test_a_network_without_a_cache_tells_nothing() -> None:
    proto = dense()
    del proto.graph.output[1:]
    assert cache_counts(model_of(proto)) is None


def test_layers_that_are_left_are_known_by_their_nodes() -> None:
    before = model_of(dense(layers=4))
    assert surviving_layers(before, model_of(without_layer(dense(layers=4), 2))) == (0, 1, 3)
    assert surviving_layers(before, model_of(without_layer(without_layer(dense(layers=4), 2), 1))) == (0, 3)
    assert surviving_layers(before, before) == (0, 1, 2, 3)


def test_layers_are_not_guessed() -> None:
    other = dense(layers=4)
    for number, node in enumerate(other.graph.node):
        node.name = f"other{number}"
    assert surviving_layers(model_of(dense(layers=4)), model_of(other)) is None


def test_mlps_are_known_by_their_weights() -> None:
    before = model_of(dense())
    assert mlp_sizes(before, model_of(dense(neurons=20)), 24) == (9, (20,) * 9)
    assert mlp_sizes(before, model_of(without_layer(dense(), 1)), 24) == (9, (24,) * 6)
    assert mlp_sizes(before, model_of(without_attention(dense(), 1)), 24) == (9, (24,) * 9)
