"""Linear maps in place of branches: the written file equals the masked original with the maps, and faults are found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from graphprune.analysis.model_analysis import ModelAnalysis, analyse
from graphprune.data.dataset import Data, load_data
from graphprune.errors import ValidationFailed
from graphprune.ir.export import to_proto
from graphprune.ir.loading import load
from graphprune.repair.linear_fit import fitted
from graphprune.rewrite import linearise
from graphprune.rewrite.linear_map import LinearMap, linear_maps
from graphprune.rewrite.removal import Removal
from graphprune.runtime.sessions import RuntimeOptions
from graphprune.validation.validate import validate
from tests.decoder_graphs import fused_decoder, plain_decoder
from tests.decoder_steps import first_feeds
from tests.graphs import Arrays, ops
from tests.linear_nets import stream
from tests.linear_nets import tokens as stream_tokens
from tests.repair.nets import correlated, resnet
from tests.token_graphs import Shape, tokens, transformer

OPTIONS = RuntimeOptions(threads=1)
BATCH = 8
VIT = Shape(layers=2, mask=True)


def images() -> tuple[onnx.ModelProto, Arrays]:
    return resnet(3), correlated(24)


def encoder() -> tuple[onnx.ModelProto, Arrays]:
    return transformer(VIT), tokens(VIT, samples=24)


def post_norm() -> tuple[onnx.ModelProto, Arrays]:
    return stream(3, post_norm=True), stream_tokens()


def decoder(make: Callable[[], onnx.ModelProto]) -> tuple[onnx.ModelProto, Arrays]:
    proto = make()
    return proto, first_feeds(load(proto), np.random.default_rng(0).integers(0, 40, (24, 6)))


NETS: dict[str, Callable[[], tuple[onnx.ModelProto, Arrays]]] = {
    "images": images,
    "encoder": encoder,
    "post-norm": post_norm,
    "plain decoder": lambda: decoder(plain_decoder),
    "fused decoder": lambda: decoder(fused_decoder),
}


def prepared(name: str, count: int = 2) -> tuple[ModelAnalysis, Data, list[LinearMap]]:
    """A network, its samples, and fitted maps for its first blocks."""
    return fitted_maps(*NETS[name](), count)


def fitted_maps(proto: onnx.ModelProto, feeds: Arrays, count: int) -> tuple[ModelAnalysis, Data, list[LinearMap]]:
    model = load(proto)
    analysis = analyse(model, {key: values[:1] for key, values in feeds.items()}, OPTIONS)
    data = load_data(feeds, model, None)
    maps = [found for found in linear_maps(analysis, analysis.joins) if isinstance(found, LinearMap)][:count]
    return analysis, data, fitted(model, (), analysis, maps, data, BATCH, OPTIONS, lambda *_: None)


@pytest.mark.parametrize("name", NETS)
def test_the_file_equals_the_masked_original_and_a_fault_is_found(name: str, tmp_path: Path) -> None:
    analysis, data, maps = prepared(name)
    assert len(maps) == 2
    assert all(np.abs(each.added()).max() > 1e-2 for each in maps)
    step = Removal(analysis.model, maps=tuple(maps))
    small = linearise(analysis.model, maps)
    gone = {node for each in maps for node in each.gone}
    assert gone
    assert not gone & {node.name for node in small.graph.nodes}
    onnx.save(to_proto(small), tmp_path / "right.onnx")
    assert validate([step], tmp_path / "right.onnx", data, BATCH, OPTIONS).max_relative_error < 1e-5

    first = maps[0]
    louder = first.weights * np.where(np.arange(first.width) == 1, 1.05, 1.0)[:, None]
    for wrong in (
        first.with_values(first.weights.T, first.shift),
        first.with_values(louder, first.shift),
        first.with_values(first.weights, first.shift + 0.1 * (np.arange(first.width) == 1)),
    ):
        onnx.save(to_proto(linearise(analysis.model, [wrong, *maps[1:]])), tmp_path / "wrong.onnx")
        with pytest.raises(ValidationFailed, match="differs from the masked original"):
            validate([step], tmp_path / "wrong.onnx", data, BATCH, OPTIONS)


def test_images_have_one_convolution_and_tokens_one_product() -> None:
    analysis, _, maps = prepared("images", 3)
    small = to_proto(linearise(analysis.model, maps))
    assert ops(small).count("Conv") == 1 + 3  # the stem and the maps
    assert "Add" not in ops(small)
    analysis, _, maps = prepared("encoder", 4)
    assert ops(to_proto(linearise(analysis.model, maps))).count("MatMul") == 4 + 1


@pytest.mark.parametrize("name", ["plain decoder", "fused decoder"])
def test_the_cache_goes_with_the_attention(name: str, tmp_path: Path) -> None:
    """And what is left steps on as the masked original does: a past that is read by the wrong layer is found."""
    analysis, data, maps = prepared(name, 3)
    step = Removal(analysis.model, maps=tuple(maps))
    small = to_proto(linearise(analysis.model, maps))
    names = [value.name for value in small.graph.input]
    assert names == ["input_ids", "attention_mask", "past_key_values.0.key", "past_key_values.0.value"]
    assert [value.name for value in small.graph.output] == ["logits", "present.0.key", "present.0.value"]
    onnx.save(small, tmp_path / "small.onnx")
    assert validate([step], tmp_path / "small.onnx", data, BATCH, OPTIONS).max_relative_error < 1e-5


@pytest.mark.parametrize("name", ["images", "post-norm"])
def test_half_precision_stays_half(name: str, tmp_path: Path) -> None:
    proto, feeds = NETS[name]()
    halves = {key: values.astype(np.float16) for key, values in feeds.items()}
    analysis, data, maps = fitted_maps(halved(proto), halves, 2)
    small = to_proto(linearise(analysis.model, maps))
    written = [tensor.data_type for tensor in small.graph.initializer if "/linear/" in tensor.name]
    assert written == [onnx.TensorProto.FLOAT16] * 4
    onnx.save(small, tmp_path / "small.onnx")
    step = Removal(analysis.model, maps=tuple(maps))
    assert validate([step], tmp_path / "small.onnx", data, BATCH, OPTIONS).max_relative_error < 2e-2


def halved(proto: onnx.ModelProto) -> onnx.ModelProto:
    """All in half precision."""
    half = onnx.ModelProto()
    half.CopyFrom(proto)
    for tensor in half.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            values = onnx.numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    for value in (*half.graph.input, *half.graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    return half
