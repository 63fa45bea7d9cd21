"""A fault that only shows when the cache is fed back is found: two layers that read each other's past."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from graphprune.data.dataset import Data, load_data
from graphprune.errors import ValidationFailed
from graphprune.ir.export import to_proto
from graphprune.rewrite import remove_blocks
from graphprune.rewrite.removal import Removal
from graphprune.runtime.sessions import RuntimeOptions
from graphprune.validation.decoding import DecodingCheck
from graphprune.validation.oracle_check import OracleCheck
from graphprune.validation.validate import validate
from graphprune.validation.yardstick import Yardstick
from tests.decoder_graphs import fused_decoder, plain_decoder
from tests.decoder_steps import first_feeds, looked_at

OPTIONS = RuntimeOptions(threads=1)


def prepared(make: Callable[..., onnx.ModelProto]) -> tuple[Removal, Data, onnx.ModelProto]:
    """A decoder without its first attention."""
    analysis = looked_at(make())
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
