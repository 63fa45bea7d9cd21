"""The loop with bound caches gives the tokens of a plain one, and reads the clock once a token."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from graphprune.data.dataset import input_specs
from graphprune.decoder.interface import decoder_interface
from graphprune.decoder.steps import next_step, prefill
from graphprune.errors import ModelError
from graphprune.generation.decoder import Decoder
from graphprune.generation.genai import open_genai
from graphprune.generation.loop import open_decoder
from graphprune.generation.source import decoder_source
from graphprune.ir.loading import load
from graphprune.runtime.sessions import RuntimeOptions
from tests.decoder_graphs import Sizes, fused_decoder, plain_decoder
from tests.generation.folders import SIZES, free_depth, genai_folder, optimum_folder
from tests.graphs import residual_mlp, run

ONE = RuntimeOptions(threads=1)
IDS = np.random.default_rng(0).integers(0, SIZES.vocabulary, (2, 5))


def plain_tokens(proto: onnx.ModelProto, ids: np.ndarray, new: int) -> np.ndarray:
    """Greedy tokens [N, new] with the cache carried in NumPy arrays."""
    model = load(proto)
    interface = decoder_interface(model)
    assert interface is not None
    names = [value.name for value in proto.graph.output]
    feeds = prefill(interface, {spec.name: spec for spec in input_specs(model)}, ids)
    tokens = []
    for _ in range(new):
        gave = dict(zip(names, run(proto, feeds, names), strict=True))
        tokens.append(gave["logits"][:, -1].argmax(axis=-1))
        feeds = next_step(interface, feeds, gave, tokens[-1][:, None])
    return np.stack(tokens, axis=1)


@pytest.mark.parametrize("make", [fused_decoder, plain_decoder])
def test_tokens_are_those_of_a_plain_loop(make: Callable[[Sizes], onnx.ModelProto]) -> None:
    decoder = open_decoder(make(SIZES), ONE)
    assert decoder.vocabulary == SIZES.vocabulary
    wanted = plain_tokens(make(SIZES), IDS, 9)
    assert len(np.unique(wanted)) > 2  # else any loop would do
    np.testing.assert_array_equal(decoder.generate(IDS, 9).tokens, wanted)


def test_a_shared_buffer_and_genai_itself_give_the_same(tmp_path: Path) -> None:
    source = decoder_source(genai_folder(tmp_path / "g"))
    decoder = open_decoder(source, ONE)
    assert decoder.is_shared
    wanted = plain_tokens(fused_decoder(SIZES), IDS, 9)
    np.testing.assert_array_equal(decoder.generate(IDS, 9).tokens, wanted)
    np.testing.assert_array_equal(replace(decoder, is_shared=False).generate(IDS, 9).tokens, wanted)
    pytest.importorskip("onnxruntime_genai", reason="onnxruntime-genai is not installed")
    given = open_genai(source, ONE)
    assert given.vocabulary == SIZES.vocabulary
    np.testing.assert_array_equal(given.generate(IDS, 9).tokens, wanted)


def test_the_clock_is_read_before_the_first_step_and_after_each() -> None:
    readings = iter(range(0, 100_000_000, 3_000_000))
    decoder = replace(open_decoder(plain_decoder(SIZES), ONE), clock_ns=lambda: next(readings))
    assert decoder.generate(IDS, 4).step_ms.tolist() == [3.0] * 4
    assert next(readings) == 5 * 3_000_000


def test_sizes_of_the_cache_come_from_the_operators_where_no_file_says_them(tmp_path: Path) -> None:
    onnx.save(free_depth(fused_decoder(SIZES)), tmp_path / "alone.onnx")
    decoder: Decoder = open_decoder(decoder_source(tmp_path / "alone.onnx"), ONE)
    np.testing.assert_array_equal(decoder.generate(IDS, 3).tokens, plain_tokens(fused_decoder(SIZES), IDS, 3))


def test_what_cannot_generate_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="the model is no decoder with a cache"):
        open_decoder(residual_mlp(2), ONE)
    with pytest.raises(ModelError, match="size of axis 'kv_cache_dim' of its cache open"):
        open_decoder(free_depth(fused_decoder(SIZES)), ONE)
    proto = plain_decoder(SIZES)
    proto.graph.input.append(onnx.helper.make_tensor_value_info("use_cache_branch", onnx.TensorProto.BOOL, [1]))
    with pytest.raises(ModelError, match="takes use_cache_branch, which generation has no values for"):
        open_decoder(proto, ONE)
    with pytest.raises(ModelError, match=r"has no genai_config\.json beside it"):
        pytest.importorskip("onnxruntime_genai", reason="onnxruntime-genai is not installed")
        open_genai(decoder_source(optimum_folder(tmp_path / "o")), ONE)


def test_the_files_of_a_folder_say_what_it_is(tmp_path: Path) -> None:
    genai = decoder_source(genai_folder(tmp_path / "g"))
    assert (genai.path.name, genai.genai_folder, genai.context) == ("model.onnx", tmp_path / "g", SIZES.positions)
    optimum = decoder_source(optimum_folder(tmp_path / "o"))
    assert (optimum.genai_folder, optimum.context, optimum.head_size) == (None, 48, SIZES.depth)
    config = json.loads((tmp_path / "g" / "genai_config.json").read_text())
    config["model"]["decoder"]["filename"] = "gone.onnx"
    (tmp_path / "g" / "genai_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"there is no gone\.onnx in"):
        decoder_source(tmp_path / "g")
    (tmp_path / "g" / "genai_config.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be read"):
        decoder_source(tmp_path / "g")
    with pytest.raises(ModelError, match="there is no file or folder"):
        decoder_source(tmp_path / "none")


def test_a_folder_names_no_file_outside_it(tmp_path: Path) -> None:
    folder = genai_folder(tmp_path / "g")
    (tmp_path / "other.onnx").write_bytes(b"")
    config = folder / "genai_config.json"
    config.write_text(config.read_text().replace('"model.onnx"', '"../other.onnx"'))
    with pytest.raises(ModelError, match="no file inside the folder"):
        decoder_source(folder)
