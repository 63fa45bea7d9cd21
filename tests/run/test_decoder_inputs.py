"""Decoders with a cache start with an empty one, and a long list of its inputs is cut short."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from graphprune.errors import DataError
from graphprune.ir.loading import load
from graphprune.run.inputs import input_layout
from graphprune.run.loaded import prepare
from graphprune.run.options import RunOptions
from graphprune.runtime.sessions import RuntimeOptions
from tests.decoder_graphs import Sizes, fused_decoder, plain_decoder

ONE_THREAD = RuntimeOptions(threads=1)


def freed(proto: onnx.ModelProto) -> onnx.ModelProto:
    """With the head size left free, as onnxruntime-genai's builder does."""
    for value in (*proto.graph.input, *proto.graph.output):
        if value.name.startswith(("past", "present")):
            value.type.tensor_type.shape.dim[3].dim_param = "kv_cache_dim"
    return proto


@pytest.mark.parametrize("make", [fused_decoder, plain_decoder])
def test_the_cache_is_empty_at_first(make: Callable[..., onnx.ModelProto]) -> None:
    layout = input_layout(load(make(Sizes())), {}, {}, {}, ONE_THREAD, needs_shapes=True)
    assert layout.shapes is not None
    assert layout.shapes["input_ids"] == layout.shapes["attention_mask"] == (1, 16)
    assert layout.shapes["past_key_values.1.value"] == (1, 2, 0, 16)
    assert layout.note.endswith("past_key_values.0.value 1x2x0x16 and 4 more; --input-shapes asks for others")


def test_a_head_size_that_the_operator_tells_is_taken() -> None:
    loaded = prepare(freed(fused_decoder(Sizes())), None, RunOptions(runtime=ONE_THREAD))
    assert loaded.feeds["past_key_values.0.key"].shape == (1, 2, 0, 16)
    assert loaded.analysis.sizes["present.2.key"] == (1, 2, 16, 16)
    assert dict(loaded.data.batching.axes)["past_key_values.2.value"] == 0


def test_where_no_sizes_are_found_a_few_axes_are_named() -> None:
    proto = freed(fused_decoder(Sizes(depth=24)))  # no size that is tried
    with pytest.raises(DataError, match=r"past_key_values.0.key axis 3 and 10 more\)"):
        input_layout(load(proto), {}, {}, {}, ONE_THREAD, needs_shapes=True)


def test_both_real_styles_are_looked_at(shared_models: Path) -> None:
    for folder in ("tiny_llama_genai", "tiny_llama_optimum"):
        loaded = prepare(shared_models / folder / "model.onnx", None, RunOptions(runtime=ONE_THREAD))
        assert loaded.analysis.sizes["logits"] == (1, 16, 512)
        assert np.prod(loaded.feeds["past_key_values.4.value"].shape) == 0
