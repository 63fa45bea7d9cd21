"""Window by window a tokenizer gives what it gives for the whole text."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import pytest

from graphprune.text import stream
from graphprune.text.tokenizer import load_tokenizer
from tests.text.tokenizers import words, write_tokenizer


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_the_ids_are_those_of_the_whole_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(stream, "_WINDOW", 200)
    monkeypatch.setattr(stream, "_AROUND", 40)
    encoder = load_tokenizer(write_tokenizer(tmp_path)).encoder
    text = words(1_500)
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    parts = list(stream.token_ids(encoder, pieces))
    assert list(chain(*parts)) == encoder.encode(text).ids
    assert len(parts) > 10 or size > len(text)


def test_no_text_has_no_ids(tmp_path: Path) -> None:
    encoder = load_tokenizer(write_tokenizer(tmp_path)).encoder
    assert list(chain(*stream.token_ids(encoder, []))) == []
