"""Chunks in order are the text without gaps; spread ones come from everywhere and are the same each time."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from graphprune.text.chunks import in_order, spread
from graphprune.text.corpus import TextFile
from graphprune.text.tokenizer import TextTokenizer, load_tokenizer
from tests.text.tokenizers import words, write_tokenizer


@pytest.fixture
def tokenizer(tmp_path: Path) -> TextTokenizer:
    return load_tokenizer(write_tokenizer(tmp_path, around="[BOS] $A"))


def _corpus(tmp_path: Path, text: str) -> tuple[TextFile, tuple[int, int]]:
    path = tmp_path / "a.txt"
    path.write_text(text, encoding="utf-8")
    return TextFile(path), (0, path.stat().st_size)


def test_in_order_without_gaps_each_with_what_the_tokenizer_puts_before_a_text(
    tmp_path: Path, tokenizer: TextTokenizer
) -> None:
    corpus, span = _corpus(tmp_path, words(5_000))
    chunks = list(in_order(corpus, tokenizer, 50, span, None))
    ids = tokenizer.encoder.encode(words(5_000), add_special_tokens=False).ids
    assert all(chunk[0] == 0 and len(chunk) == 50 for chunk in chunks)
    np.testing.assert_array_equal(np.concatenate([chunk[1:] for chunk in chunks]), ids[: len(ids) // 49 * 49])
    assert len(list(in_order(corpus, tokenizer, 50, span, 3))) == 3


def test_a_text_shorter_than_a_chunk_is_one(tmp_path: Path, tokenizer: TextTokenizer) -> None:
    corpus, span = _corpus(tmp_path, "the layers")
    (chunk,) = in_order(corpus, tokenizer, 500, span, None)
    assert tokenizer.encoder.decode(chunk.tolist()) == "the layers"


def test_from_a_small_text_chunks_are_drawn_without_overlap(tmp_path: Path, tokenizer: TextTokenizer) -> None:
    corpus, span = _corpus(tmp_path, words(3_000))
    every = {chunk.tobytes() for chunk in in_order(corpus, tokenizer, 50, span, None)}
    chunks = spread(corpus, tokenizer, 50, span, len(every) // 2)
    assert len({chunk.tobytes() for chunk in chunks} & every) == len(every) // 2
    again = spread(corpus, tokenizer, 50, span, len(every) // 2)
    assert all(np.array_equal(one, other) for one, other in zip(chunks, again, strict=True))
    assert len(spread(corpus, tokenizer, 50, span, 10_000)) == len(every)


def test_of_a_large_text_only_the_places_are_read(
    tmp_path: Path, tokenizer: TextTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [f"line {index} of the graphs \n" for index in range(100_000)]
    corpus, span = _corpus(tmp_path, "".join(lines))
    read = []
    whole = TextFile.read

    def counted(self: TextFile, start: int, end: int) -> object:
        for piece in whole(self, start, end):
            read.append(len(piece))
            yield piece

    monkeypatch.setattr(TextFile, "read", counted)
    chunks = spread(corpus, tokenizer, 40, span, 20)
    assert sum(read) < span[1] / 4
    first = sorted(int(tokenizer.encoder.decode(chunk.tolist()).split()[1]) for chunk in chunks)
    assert len(first) == 20
    assert all(1_000 < after - before < 9_000 for before, after in pairwise(first))  # one in each twentieth
    texts = [tokenizer.encoder.decode(chunk.tolist()) for chunk in chunks]
    assert all(text.startswith("line ") for text in texts)
    assert [int(text.split()[1]) for text in texts] != first  # in an order of chance


def test_two_places_before_the_same_line_give_one_chunk(tmp_path: Path, tokenizer: TextTokenizer) -> None:
    corpus, span = _corpus(tmp_path, "a \n" + "the layers " * 5_000 + "\n" + words(60_000))
    chunks = spread(corpus, tokenizer, 30, span, 60)
    assert len({chunk.tobytes() for chunk in chunks}) == len(chunks) < 60
