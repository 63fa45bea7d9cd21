"""The tokenizer beside the model, what it puts around a text, and the length that the files say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from graphprune.errors import DataError, RuntimeMissing
from graphprune.text.tokenizer import find_tokenizer, load_tokenizer
from tests.text.tokenizers import write_tokenizer


def test_it_lies_beside_the_model_or_above_the_folder_named_onnx(tmp_path: Path) -> None:
    path = write_tokenizer(tmp_path)
    (tmp_path / "onnx").mkdir()
    (tmp_path / "other").mkdir()
    assert find_tokenizer(None, tmp_path) == path
    assert find_tokenizer(None, tmp_path / "onnx") == path
    assert find_tokenizer(tmp_path, tmp_path / "other") == find_tokenizer(path, None) == path
    for folder in (tmp_path / "other", None):
        with pytest.raises(DataError, match="text needs a tokenizer"):
            find_tokenizer(None, folder)
    with pytest.raises(DataError, match="there is no tokenizer"):
        find_tokenizer(tmp_path / "other", tmp_path)


@pytest.mark.parametrize(
    ("around", "prefix", "suffix"), [("", (), ()), ("[BOS] $A", (0,), ()), ("[BOS] $A [SEP]", (0,), (1,))]
)
def test_special_tokens(tmp_path: Path, around: str, prefix: tuple[int, ...], suffix: tuple[int, ...]) -> None:
    tokenizer = load_tokenizer(write_tokenizer(tmp_path, around=around))
    assert (tokenizer.prefix, tokenizer.suffix, tokenizer.context_tokens) == (prefix, suffix, None)


def test_the_smallest_length_counts_and_very_large_ones_mean_none(tmp_path: Path) -> None:
    path = write_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 10**30}))
    assert load_tokenizer(path).context_tokens is None
    (tmp_path / "config.json").write_text(json.dumps({"max_position_embeddings": 2048}))
    (tmp_path / "genai_config.json").write_text(json.dumps({"model": {"context_length": 1024}}))
    assert load_tokenizer(path).context_tokens == 1024


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match="cannot be read as a tokenizer"):
        load_tokenizer(tmp_path / "tokenizer.json")


def test_without_the_package_the_pip_line_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tokenizer(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    with pytest.raises(RuntimeMissing) as caught:
        load_tokenizer(path)
    assert "graphprune[text]" in caught.value.fix
