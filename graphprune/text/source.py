"""Samples of any kind for any model: text in chunks, or what the data room reads, completed where it is token ids."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from graphprune.data.batching import Arrays, Batching
from graphprune.data.dataset import DEFAULT_SAMPLES, Data, input_specs, load_data
from graphprune.data.image_options import ImageOptions
from graphprune.data.symbols import likely
from graphprune.errors import DataError, OptionError
from graphprune.ir.model import Model
from graphprune.text.chunks import in_order, spread
from graphprune.text.corpus import is_text, open_corpus
from graphprune.text.inputs import TokenInputs, token_inputs, with_tokens
from graphprune.text.options import TextOptions
from graphprune.text.tokenizer import TextTokenizer, find_tokenizer, load_tokenizer

DEFAULT_CHUNK = 512
DEFAULT_TOKENS = 32_768
"""So much of a text is used, unless a number of chunks is asked for."""

Limit = int | Literal["auto"] | None
"""The most samples to use: ``auto`` is 512, of text as many chunks as hold 32,768 tokens; None takes all."""
Share = tuple[float, float]
"""From where to where in a text."""

WHOLE: Share = (0.0, 1.0)
ALL_BUT_HELD_OUT: Share = (0.0, 0.9)
HELD_OUT: Share = (0.9, 1.0)


def open_data(
    source: Any,
    model: Model,
    limit: Limit = "auto",
    batching: Batching | None = None,
    text: TextOptions | None = None,
    images: ImageOptions | None = None,
    *,
    share: Share = WHOLE,
) -> Data:
    """As :func:`graphprune.data.dataset.load_data`, and text, too; samples of a model of tokens need ids only.

    The chunks of a text are taken from everywhere in that ``share`` of it.

    Raises
    ------
    GraphpruneError
        The data cannot be read, do not fit the model, or need a package that is not installed.
    """
    inputs = None if isinstance(source, Data) else token_inputs(model)
    if is_text(source):
        return _chunks(os.fspath(source), model, inputs, limit, batching, text or TextOptions(), share)
    data = load_data(source, model, DEFAULT_SAMPLES if limit == "auto" else limit, batching, images)
    if inputs is None or len(data.specs) == 1:
        return data
    return replace(with_tokens(data, inputs), tokens=inputs.names if inputs.decoder is not None else None)


def _chunks(
    source: str,
    model: Model,
    inputs: TokenInputs | None,
    limit: Limit,
    batching: Batching | None,
    options: TextOptions,
    share: Share,
) -> Data:
    if inputs is None:
        takes = ", ".join(map(str, input_specs(model)))
        why = f"text is for models that take token ids; this one takes {takes}"
        raise DataError(why, "give --data as .npz; pictures of a data set are hf:NAME")
    folder = model.source.parent if isinstance(model.source, Path) else model.folder
    tokenizer = load_tokenizer(find_tokenizer(None if options.tokenizer is None else Path(options.tokenizer), folder))
    if inputs.decoder is not None:
        tokenizer = replace(tokenizer, suffix=())  # text goes on after a chunk
    tokens = _chunk_tokens(inputs, tokenizer, options.chunk_tokens)
    count = max(1, DEFAULT_TOKENS // tokens) if limit == "auto" else limit
    corpus = open_corpus(source, options.field)
    span = (round(share[0] * corpus.size), round(share[1] * corpus.size))
    name, dtype = inputs.names.ids, inputs.specs[inputs.names.ids].dtype
    vocabulary = _vocabulary(model)
    kept: list[np.ndarray] = []

    def drawn() -> Iterator[np.ndarray]:
        if count is None:
            yield from in_order(corpus, tokenizer, tokens, span, None)
        elif not kept:
            kept.extend(spread(corpus, tokenizer, tokens, span, count))
        yield from kept

    def chunks() -> Iterator[Arrays]:
        for chunk in drawn():
            if vocabulary is not None and chunk.max() >= vocabulary:
                raise DataError(
                    f"{tokenizer.path} gives the id {chunk.max()}, the model knows {vocabulary:,} tokens",
                    "give the --tokenizer that the model was trained with",
                )
            yield {name: chunk[None].astype(dtype)}

    origin = f"{corpus.name} in chunks of {tokens} tokens"
    specs = tuple(inputs.specs.values())
    data = Data(specs, chunks, "text", origin, count, batching or likely(specs), tokens=inputs.names)
    return with_tokens(data, inputs)


def _chunk_tokens(inputs: TokenInputs, tokenizer: TextTokenizer, asked: int | None) -> int:
    """The length of a chunk, which the graph, the files of the model or the user may say."""
    special = len(tokenizer.prefix) + len(tokenizer.suffix)
    if inputs.length is not None:
        if asked not in (None, inputs.length):
            raise OptionError(
                f"the model takes {inputs.length} tokens, --chunk-tokens says {asked}", "leave --chunk-tokens out"
            )
        return inputs.length
    most = tokenizer.context_tokens
    if asked is not None and most is not None and asked > most:
        raise OptionError(f"--chunk-tokens {asked} is more than the {most} that the model takes", f"ask for {most}")
    tokens = asked or min(DEFAULT_CHUNK, most or DEFAULT_CHUNK)
    if tokens < special + 2:
        raise OptionError(f"a chunk of {tokens} tokens has no room for text", "ask for more --chunk-tokens")
    return tokens


def _vocabulary(model: Model) -> int | None:
    """How many tokens a language model tells apart, by the last size of its logits."""
    for tensor in model.graph.outputs:
        dims = model.shapes.get(tensor.name, ())
        if tensor.name.endswith("logits") and len(dims) == 3 and isinstance(dims[-1], int):
            return dims[-1]
    return None
