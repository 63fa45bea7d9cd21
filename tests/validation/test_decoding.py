"""A fault that only shows when the cache is fed back is found: two layers that read each other's past."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from graphprune.data.dataset import Data, load_data
from graphprune.errors import ValidationFailed
from graphprune.ir.export import to_proto
from graphprune.rewrite import remove_blocks, remove_units
from graphprune.rewrite.removal import Removal
from graphprune.runtime.sessions import RuntimeOptions
from graphprune.validation.decoding import DecodingCheck
from graphprune.validation.oracle_check import OracleCheck
from graphprune.validation.validate import validate
from graphprune.validation.yardstick import Yardstick
from tests.decoder_graphs import Sizes, fused_decoder, plain_decoder
from tests.decoder_steps import first_feeds, looked_at

OPTIONS = RuntimeOptions(threads=1)


def prepared(make: Callable[..., onnx.ModelProto], positions: int = 64) -> tuple[Removal, Data, onnx.ModelProto]:
    """A decoder without its first attention."""
    analysis = looked_at(make(Sizes(positions=positions)))
    model, block = analysis.model, next(join.block for join in analysis.joins if join.block)
    feeds = first_feeds(model, np.random.default_rng(0).integers(0, 40, (4, 6)))
    data = load_data(feeds, model, None)
    return Removal(model, (block,)), data, to_proto(remove_blocks(model, [block]))


@pytest.mark.parametrize("make", [fused_decoder, plain_decoder])
def test_layers_that_read_each_others_past_are_found(tmp_path: Path, make: Callable[..., onnx.ModelProto]) -> None:
    step, data, small = prepared(make)
    onnx.save(small, tmp_path / "right.onnx")
    assert validate([step], tmp_path / "right.onnx", data, 4, OPTIONS).max_relative_error < 1e-4

    kinds, names = ("key", "value"), [f"past_key_values.{i}" for i in range(2)]
    swap = {f"{names[i]}.{each}": f"{names[1 - i]}.{each}" for i in range(2) for each in kinds}
    for node in small.graph.node:
        if node.op_type != "Shape":
            node.input[:] = [swap.get(name, name) for name in node.input]
    onnx.save(small, tmp_path / "wrong.onnx")
    yardstick = Yardstick(step.model, data, 4, OPTIONS)
    error, _ = OracleCheck(step, tmp_path / "wrong.onnx", OPTIONS, yardstick).run(data, 4)
    assert error < 1e-4  # the first step does not tell
    with pytest.raises(ValidationFailed, match="1 tokens after the first step, output 'logits'"):
        DecodingCheck(step, tmp_path / "wrong.onnx", OPTIONS, yardstick).run(data, 4)
    with pytest.raises(ValidationFailed, match="after the first step"):
        validate([step], tmp_path / "wrong.onnx", data, 4, OPTIONS, yardstick)


def test_samples_may_be_as_long_as_the_model_takes(tmp_path: Path) -> None:
    """There is room for the further steps in them, so that a layer with a cache may go."""
    step, data, small = prepared(fused_decoder, positions=6)
    onnx.save(small, tmp_path / "small.onnx")
    assert validate([step], tmp_path / "small.onnx", data, 4, OPTIONS).max_relative_error < 1e-4
    yardstick = Yardstick(step.model, data, 4, OPTIONS)
    blocks = [join.block for join in looked_at(fused_decoder(Sizes(positions=6))).joins if join.block]
    other = remove_blocks(step.model, blocks[2:3])
    with pytest.raises(ValidationFailed, match="tokens after the first step"):
        DecodingCheck(step, other, OPTIONS, yardstick).run(data, 4)


@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e2])
@pytest.mark.parametrize("is_right", [True, False])
def test_rounding_of_what_is_left_is_noise_and_a_wrong_neuron_is_none(
    scale: float, is_right: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    proto = fused_decoder(Sizes(neurons=600))
    for tensor in proto.graph.initializer:
        if tensor.name.startswith("down"):
            tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * scale, tensor.name))
    analysis = looked_at(proto)
    group = next(group for group in analysis.groups if group.size == 600)
    keep = np.arange(group.size) % 2 == 0
    kept, cut = ({group.atom: mask} for mask in (keep, keep if is_right else np.roll(keep, 1)))
    step = Removal(analysis.model, typing=analysis.typing, kept=kept)
    data = load_data(first_feeds(analysis.model, np.arange(24).reshape(4, 6)), analysis.model, None)
    yardstick = Yardstick(analysis.model, data, 4, OPTIONS)
    yardstick.tolerance = 1e-9  # below what single precision keeps
    monkeypatch.setattr(yardstick, "_noise", defaultdict(float))
    check = DecodingCheck(step, remove_units(analysis.model, analysis.typing, cut), OPTIONS, yardstick)
    if is_right:
        assert 1e-9 < check.run(data, 4) < 1e-5
    else:
        with pytest.raises(ValidationFailed, match="after the first step"):
            check.run(data, 4)
