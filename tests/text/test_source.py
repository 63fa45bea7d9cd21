"""Text as samples: chunks of the length that model, files and user allow, cut from their share of the text."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from graphprune.errors import DataError, OptionError
from graphprune.ir.loading import load
from graphprune.text.options import TextOptions
from graphprune.text.source import ALL_BUT_HELD_OUT, HELD_OUT, open_data
from tests.decoder_graphs import Sizes, fused_decoder
from tests.graphs import residual_mlp
from tests.text.tokenizers import words, write_tokenizer


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A decoder with its tokenizer beside it, and a text ``corpus.txt``."""
    onnx.save(fused_decoder(Sizes(layers=1, vocabulary=300)), tmp_path / "model.onnx")
    write_tokenizer(tmp_path, around="[BOS] $A [SEP]")
    (tmp_path / "corpus.txt").write_text(words(30_000), encoding="utf-8")
    return tmp_path / "model.onnx"


def test_chunks_with_all_that_the_model_takes_beside_them(model: Path) -> None:
    data = open_data(str(model.with_name("corpus.txt")), load(model), 5, text=TextOptions(chunk_tokens=20))
    batches = list(data.batches(2))
    assert [len(batch) for batch in batches] == [2, 2, 1]
    assert batches[0].feeds["past_key_values.0.key"].shape == (2, 2, 0, 16)
    ids = batches[0].feeds["input_ids"]
    assert ids.shape == (2, 20)
    assert (ids[:, 0] == 0).all()
    assert not (ids == 1).any()  # text goes on after a chunk: nothing says that it ends
    assert (data.kind, data.origin) == ("text", "corpus.txt in chunks of 20 tokens")
    assert not data.conversions
    for again, batch in zip(data.batches(2), batches, strict=True):
        np.testing.assert_array_equal(again.feeds["input_ids"], batch.feeds["input_ids"])


def test_without_a_number_as_many_chunks_as_hold_a_fixed_number_of_tokens(model: Path) -> None:
    data = open_data(model.with_name("corpus.txt"), load(model), text=TextOptions(chunk_tokens=1024))
    assert data.limit == 32
    assert open_data({"input_ids": np.zeros((1, 4), np.int64)}, load(model)).limit == 512


def test_the_length_is_what_the_files_of_the_model_allow(model: Path) -> None:
    corpus = model.with_name("corpus.txt")
    assert next(open_data(corpus, load(model), 1).batches(1)).feeds["input_ids"].shape == (1, 512)
    model.with_name("config.json").write_text(json.dumps({"max_position_embeddings": 64}))
    assert next(open_data(corpus, load(model), 1).batches(1)).feeds["input_ids"].shape == (1, 64)
    with pytest.raises(OptionError, match="--chunk-tokens 65 is more than the 64 that the model takes"):
        open_data(corpus, load(model), 1, text=TextOptions(chunk_tokens=65))
    with pytest.raises(OptionError, match="a chunk of 2 tokens has no room for text"):
        open_data(corpus, load(model), 1, text=TextOptions(chunk_tokens=2))


def test_a_graph_of_a_fixed_length_gets_that(model: Path) -> None:
    proto = onnx.load(model)
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 24
    onnx.save(proto, model)
    corpus = model.with_name("corpus.txt")
    assert next(open_data(corpus, load(model), 1).batches(1)).feeds["input_ids"].shape == (1, 24)
    with pytest.raises(OptionError, match="the model takes 24 tokens, --chunk-tokens says 32"):
        open_data(corpus, load(model), 1, text=TextOptions(chunk_tokens=32))


def test_what_is_held_out_is_nowhere_in_the_rest(model: Path) -> None:
    lines = [f"{index} layers \n" for index in range(3_000)]
    corpus = model.with_name("corpus.txt")
    corpus.write_text("".join(lines))
    encoder = pytest.importorskip("tokenizers").Tokenizer.from_file(str(model.with_name("tokenizer.json")))

    def numbers(share: tuple[float, float]) -> set[str]:
        data = open_data(corpus, load(model), None, text=TextOptions(chunk_tokens=16), share=share)
        ids = np.concatenate([batch.feeds["input_ids"][:, 1:] for batch in data.batches(64)])
        whole_lines = encoder.decode(ids.reshape(-1).tolist()).splitlines()[:-1]
        return {line.split()[0] for line in whole_lines if line.strip()}

    rest, held_out = numbers(ALL_BUT_HELD_OUT), numbers(HELD_OUT)
    assert len(rest) > 2_000
    assert 200 < len(held_out) < 400
    assert not rest & held_out


def test_a_tokenizer_of_another_model_is_refused(model: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = write_tokenizer(tmp_path / "other", vocabulary=400)
    data = open_data(model.with_name("corpus.txt"), load(model), text=TextOptions(other))
    with pytest.raises(DataError, match=r"gives the id 3\d\d, the model knows 300 tokens"):
        list(data.batches(1))


def test_text_is_no_data_for_a_model_of_numbers(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="text is for models that take token ids; this one takes 'x'"):
        open_data("corpus.txt", load(residual_mlp(2)))
