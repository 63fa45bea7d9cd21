"""Attention leaves a decoder with its part of the cache; what is left is counted anew and steps as it should."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np
import onnx
import pytest

from graphprune.analysis.blocks import Block
from graphprune.decoder.interface import decoder_interface
from graphprune.errors import PlanError
from graphprune.ir.export import to_proto
from graphprune.ir.loading import load
from graphprune.ir.model import Model
from graphprune.rewrite import remove_blocks
from graphprune.rewrite.removal import Removal
from graphprune.validation.masked_original import masked_original
from tests.decoder_graphs import Sizes, fused_decoder, plain_decoder
from tests.decoder_steps import looked_at, steps
from tests.graphs import assert_same

IDS = np.random.default_rng(0).integers(0, 40, (2, 5))
STYLES: list[Callable[[], onnx.ModelProto]] = [
    fused_decoder,
    lambda: fused_decoder(Sizes(packed=False)),
    plain_decoder,
]


def with_blocks(proto: onnx.ModelProto) -> tuple[Model, list[Block], list[Block]]:
    """A model, its attentions and its MLPs."""
    analysis = looked_at(proto)
    blocks = [join.block for join in analysis.joins if join.block]
    return analysis.model, [block for block in blocks if block.cache], [block for block in blocks if not block.cache]


def without(proto: onnx.ModelProto, layers: tuple[int, ...], kinds: str) -> tuple[Removal, onnx.ModelProto]:
    """The attentions (``a``) and MLPs (``m``) of these layers taken out."""
    model, attentions, mlps = with_blocks(proto)
    found = {"a": attentions, "m": mlps}
    chosen = tuple(found[kind][layer] for layer in layers for kind in kinds)
    return Removal(model, chosen), to_proto(remove_blocks(model, list(chosen)))


@pytest.mark.parametrize("style", range(len(STYLES)))
def test_every_attention_and_every_mlp_is_a_block(style: int) -> None:
    _, attentions, mlps = with_blocks(STYLES[style]())
    assert (len(attentions), len(mlps)) == (3, 3)
    assert [[tensor.past for tensor in block.cache] for block in attentions] == [
        [f"past_key_values.{i}.key", f"past_key_values.{i}.value"] for i in range(3)
    ]


@pytest.mark.parametrize("style", range(len(STYLES)))
@pytest.mark.parametrize("kinds", ["a", "m", "am"])
@pytest.mark.parametrize("layers", [gone for count in (1, 2) for gone in combinations(range(3), count)])
def test_what_is_left_steps_as_the_masked_original(style: int, kinds: str, layers: tuple[int, ...]) -> None:
    removal, small = without(STYLES[style](), layers, kinds)
    for expected, found in zip(steps(masked_original(removal), IDS, (3, 7)), steps(small, IDS, (3, 7)), strict=True):
        assert list(found) == list(removal.outputs.values())
        assert_same([found[new] for new in removal.outputs.values()], [expected[name] for name in removal.outputs])


@pytest.mark.parametrize("style", range(len(STYLES)))
def test_inputs_and_outputs_are_counted_anew_in_their_order(style: int) -> None:
    proto = STYLES[style]()
    removal, small = without(proto, (0,), "a")
    left = [f"{i}.{each}" for i in range(2) for each in ("key", "value")]
    assert [value.name for value in small.graph.input][2:] == [f"past_key_values.{each}" for each in left]
    assert [value.name for value in small.graph.output] == ["logits", *(f"present.{each}" for each in left)]
    assert removal.outputs["present.2.value"] == "present.1.value"


def test_a_shape_that_hung_on_the_first_layer_is_that_of_another() -> None:
    _, small = without(plain_decoder(), (0,), "a")
    (asked,) = [node.input[0] for node in small.graph.node if node.op_type == "Shape" and "past" in node.input[0]]
    assert asked == "past_key_values.0.key"


@pytest.mark.parametrize("style", range(len(STYLES)))
def test_one_layer_keeps_its_cache(style: int) -> None:
    with pytest.raises(PlanError, match="every layer that has a cache"):
        without(STYLES[style](), (0, 1, 2), "a")


def test_a_second_removal_starts_from_what_the_first_has_left() -> None:
    model, attentions, _ = with_blocks(fused_decoder(Sizes(layers=4)))
    once = looked_at(to_proto(remove_blocks(model, [attentions[1]])))
    again = next(join.block for join in once.joins if join.block and join.node == attentions[2].join)
    twice = to_proto(remove_blocks(once.model, [again]))
    together = to_proto(remove_blocks(model, attentions[1:3]))
    for one, other in zip(steps(twice, IDS, (1,)), steps(together, IDS, (1,)), strict=True):
        assert_same(list(one.values()), list(other.values()))


@pytest.mark.parametrize("style", range(len(STYLES)))
def test_the_smaller_network_is_used_as_its_file_is(style: int) -> None:
    model, attentions, _ = with_blocks(STYLES[style]())
    small = remove_blocks(model, attentions[1:2])
    found = decoder_interface(small)
    assert found is not None and found.layers == (0, 1)
    assert found == decoder_interface(load(to_proto(small)))
