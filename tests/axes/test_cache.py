"""The heads of a decoder's cache shrink with it, where what comes out goes in again."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from graphprune.analysis.groups import Group, find_groups
from graphprune.axes.cache import cache_atoms
from graphprune.axes.infer import infer
from graphprune.axes.typing import Typing
from graphprune.data.dataset import input_specs
from graphprune.decoder.interface import decoder_interface
from graphprune.decoder.steps import next_step, prefill
from graphprune.ir.export import to_proto
from graphprune.ir.loading import load
from graphprune.ir.model import Model
from graphprune.rewrite import remove_units
from graphprune.rewrite.removal import Removal
from graphprune.validation.masked_original import masked_original
from tests.decoder_graphs import Sizes, fused_decoder, plain_decoder
from tests.graphs import Arrays, assert_same, run

_SIZES = Sizes(layers=2, heads=6, kv_heads=3)
_STYLES: list[Callable[[], onnx.ModelProto]] = [
    lambda: fused_decoder(_SIZES),
    lambda: fused_decoder(Sizes(layers=2, heads=6, kv_heads=3, packed=False)),
    lambda: plain_decoder(_SIZES),
]


def _typed(proto: onnx.ModelProto) -> tuple[Model, Typing, list[Group]]:
    model = load(proto)
    typing = infer(model)
    return model, typing, [group for group in find_groups(model, typing) if group.kind == "kv-heads"]


def _past_shapes(proto: onnx.ModelProto) -> list[list[int]]:
    values = [*proto.graph.input, *proto.graph.output]
    return [
        [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in values
        if "key" in value.name or "value" in value.name
    ]


@pytest.mark.parametrize("make", _STYLES, ids=["packed", "separate", "plain"])
def test_groups_of_heads_go_with_the_cache_and_every_step_is_that_of_the_masked_original(
    make: Callable[[], onnx.ModelProto],
) -> None:
    model, typing, groups = _typed(make())
    assert [(group.size, group.freeze) for group in groups] == [(3, None)] * 2
    assert [group.atom for group in groups] == cache_atoms(model, typing)
    kept = {groups[0].atom: np.array([True, False, True]), groups[1].atom: np.array([False, False, True])}
    removal = Removal(model, typing=typing, kept=kept)
    masked, small = masked_original(removal), to_proto(remove_units(model, typing, kept))
    assert _past_shapes(small) == [[0, 2, 0, 16]] * 2 + [[0, 1, 0, 16]] * 2 + [[0, 2, 0, 16]] * 2 + [[0, 1, 0, 16]] * 2
    ids = np.random.default_rng(0).integers(0, _SIZES.vocabulary, (2, 5))
    for whole, narrow in zip(_steps(masked, ids), _steps(small, ids), strict=True):
        assert_same(list(narrow.values()), [removal.left_of(name, array) for name, array in whole.items()])


def _steps(proto: onnx.ModelProto, ids: np.ndarray) -> list[Arrays]:
    """What comes out of a first step and two more, the cache fed back."""
    model = load(proto)
    interface = decoder_interface(model)
    assert interface is not None
    names = [value.name for value in proto.graph.output]
    feeds, found = prefill(interface, {spec.name: spec for spec in input_specs(model)}, ids), []
    for _ in range(3):
        found.append(dict(zip(names, run(proto, feeds, names), strict=True)))
        feeds = next_step(interface, feeds, found[-1], ids[:, :1])
    return found


def test_a_cache_that_does_not_come_back_is_frozen() -> None:
    proto = plain_decoder(Sizes(layers=1))
    for value in proto.graph.output:
        value.name = value.name.replace("present.0.key", "keys.0")
    for node in proto.graph.node:
        for names in (node.input, node.output):
            names[:] = ["keys.0" if name == "present.0.key" else name for name in names]
    (group,) = _typed(proto)[2]
    assert group.freeze is not None and "model input" in group.freeze.reason


def test_a_present_that_is_another_axis_than_its_past_is_frozen() -> None:
    proto = plain_decoder(Sizes(layers=1))
    proto.graph.node.append(onnx.helper.make_node("Abs", ["elsewhere"], ["present.0.key"], name="abs"))
    for node in proto.graph.node[:-1]:
        for names in (node.input, node.output):
            names[:] = ["joined" if name == "present.0.key" else name for name in names]
    shape = onnx.numpy_helper.from_array(np.zeros((1, 2, 4, 16), np.float32), "elsewhere")
    proto.graph.initializer.append(shape)
    (group,) = _typed(proto)[2]
    assert group.freeze is not None and "cache that comes out" in group.freeze.reason
