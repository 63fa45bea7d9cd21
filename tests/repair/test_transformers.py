"""Attention and MLPs after heads and neurons went: by hand, and as torch exports them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest

from tests.graphs import Arrays, run
from tests.repair.story import spread, story
from tests.token_graphs import Shape, transformer

if TYPE_CHECKING:
    from tests.zoo.entry import Exporter
    from tests.zoo.fixtures import Zoo

pytest_plugins = ["tests.zoo.fixtures"]

SAMPLES = 48
EXPORTS = [("bert", "dynamo"), ("vit", "torchscript"), ("llama", "torchscript"), ("mobilenet_v2", "torchscript")]


@pytest.mark.parametrize(
    "shape",
    [
        Shape(layers=2),
        Shape(layers=2, kv_heads=2, mask=True),
        Shape(layers=2, gated=False),
        Shape(layers=2, is_flat=True),
    ],
)
def test_projections_make_up_for_heads_and_neurons(shape: Shape) -> None:
    """Tokens of four numbers in a space of eight, so that heads have something to say of one another."""
    random = np.random.default_rng(0)
    mixing = random.standard_normal((4, 8))

    def sequences(samples: int, length: int) -> Arrays:
        x = np.tanh(random.standard_normal((samples, length, 4)) @ mixing).astype(np.float32)
        mask = {"attention_mask": np.ones((samples, length), np.int64)} if shape.mask else {}
        return {"x": x} | mask

    net = story(transformer(shape), sequences(96, 6)).cut("l0_q", [1]).cut("l1_up", [0, 3, 4, 8])
    fixed, _, report = net.repaired("stats", "ridge", batch=16)
    kept = {layer.layer for layer in report.layers if layer.is_kept and layer.method == "ridge"}
    assert {"l0_o", "l1_down"} <= kept
    for length in (6, 4):  # tokens stay free
        held_out = sequences(40, length)
        wanted = run(net.proto, held_out)
        assert spread(run(fixed, held_out), wanted) < 0.8 * spread(run(net.small_proto, held_out), wanted)


def drawn(feed: Arrays, samples: int, seed: int) -> Arrays:
    """More inputs like the example: normal numbers, and integers among those that it has."""
    random = np.random.default_rng(seed)
    feeds: Arrays = {}
    for name, example in feed.items():
        shape = (samples, *example.shape[1:])
        is_float = example.dtype.kind == "f"
        values = random.standard_normal(shape) if is_float else random.choice(np.unique(example), shape)
        feeds[name] = values.astype(example.dtype)
    return feeds


@pytest.mark.parametrize(("name", "exporter"), EXPORTS)
def test_exported_networks(zoo: Zoo, name: str, exporter: Exporter) -> None:
    """A third of every group goes; what is left is repaired, and answers other samples better."""
    path, feed = zoo(name, exporter)
    net = story(onnx.load(path), drawn(feed, SAMPLES, 1))
    for group in [group.name for group in net.original.groups if group.is_prunable and group.kind != "width"]:
        size = next((g.size for g in net.small.groups if g.name == group), 0)
        if size > 1:
            net.cut(group, range(0, size, 3) if size > 3 else [0])
    fixed, layers, report = net.repaired("stats", "ridge", batch=16)
    onnx.checker.check_model(fixed)
    assert report.kept > len(layers) / 2
    assert all(math.isfinite(layer.after) for layer in report.layers)
    held_out = drawn(feed, 32, 2)
    wanted = run(net.proto, held_out)
    assert spread(run(fixed, held_out), wanted) < 0.9 * spread(run(net.small_proto, held_out), wanted)
