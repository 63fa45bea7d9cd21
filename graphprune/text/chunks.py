"""Chunks of token ids drawn from a corpus: one after the other, or spread over all of it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np

from graphprune.text.corpus import Corpus
from graphprune.text.stream import token_ids
from graphprune.text.tokenizer import TextTokenizer

_ROOMY = 4  # a corpus of so many times what is wanted is not read whole
_SEED = 0


def in_order(
    corpus: Corpus, tokenizer: TextTokenizer, tokens: int, span: tuple[int, int], limit: int | None
) -> Iterator[np.ndarray]:
    """The chunks int64 [tokens] of the text in units ``span`` of the corpus, from its start on, without gaps.

    What is left at the end is dropped, unless it is all there is. Special tokens that the tokenizer puts around a text
    are part of each chunk.
    """
    inner = tokens - len(tokenizer.prefix) - len(tokenizer.suffix)
    pending: list[int] = []
    given = 0
    for ids in token_ids(tokenizer.encoder, corpus.read(*span)):
        pending += ids
        whole = len(pending) // inner
        for start in range(0, whole * inner, inner):
            if given == limit:
                return
            given += 1
            yield _chunk(tokenizer, pending[start : start + inner])
        pending = pending[whole * inner :]
    if not given and pending:
        yield _chunk(tokenizer, pending)


def spread(
    corpus: Corpus, tokenizer: TextTokenizer, tokens: int, span: tuple[int, int], count: int
) -> list[np.ndarray]:
    """``count`` chunks int64 [tokens] from the whole ``span`` of the corpus, or all where there are fewer.

    They are the same at every call, and come in an order of chance: the first few are from everywhere, too. Of a large
    corpus only the places chosen are read, a chunk from each of ``count`` equal parts, from the start of a line on.
    """
    generator = np.random.default_rng(_SEED)
    start, end = span
    part = (end - start) / count
    if part < _ROOMY * tokens * _units_per_token(corpus, tokenizer, span):
        chosen = _drawn(in_order(corpus, tokenizer, tokens, span, None), count, generator)
    else:
        places = [start + int((index + generator.random() * (1 - 2 / _ROOMY)) * part) for index in range(count)]
        found = (next(in_order(corpus, tokenizer, tokens, (place, end), 1), None) for place in places)
        whole = (chunk for chunk in found if chunk is not None and len(chunk) == tokens)
        chosen = list({chunk.tobytes(): chunk for chunk in whole}.values())  # after a long line two places are one
    return [chosen[index] for index in generator.permutation(len(chosen))]


def _chunk(tokenizer: TextTokenizer, ids: list[int]) -> np.ndarray:
    return np.array([*tokenizer.prefix, *ids, *tokenizer.suffix], np.int64)


def _units_per_token(corpus: Corpus, tokenizer: TextTokenizer, span: tuple[int, int]) -> float:
    """About how many units of the corpus make a token, by a sample from its middle."""
    start, end = span
    middle = (start + end) // 2
    units = min(corpus.sample_units, end - middle)
    read = sum(map(len, token_ids(tokenizer.encoder, corpus.read(middle, middle + units))))
    return units / read if read else float("inf")


def _drawn(chunks: Iterator[np.ndarray], count: int, generator: np.random.Generator) -> list[np.ndarray]:
    """``count`` of the chunks, each as likely as any other; no more than these are held."""
    held = list(islice(chunks, count))
    for number, chunk in enumerate(chunks, count + 1):
        place = int(generator.integers(number))
        if place < count:
            held[place] = chunk
    return held
