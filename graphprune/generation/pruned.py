"""Generation of a network that is pruned: at which points it is timed against the original, and what counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from graphprune.decoder.cache_sizes import cache_sizes
from graphprune.decoder.context import context_length
from graphprune.decoder.interface import decoder_interface
from graphprune.decoder.steps import next_step, prefill
from graphprune.errors import ModelError
from graphprune.generation.loop import OrtDecoder, open_decoder
from graphprune.generation.measure import prompts
from graphprune.generation.points import GenerationPoint, fitting
from graphprune.generation.source import DecoderSource
from graphprune.ir.export import to_proto
from graphprune.ir.model import Model
from graphprune.runtime.sessions import Feeds, RuntimeOptions, run

TOKENS, FIRST = GenerationPoint(16, 64), GenerationPoint(512, 16)
"""Where the time per token counts, and where that to the first: generation without much of a prompt, and a long one."""


def points(model: Model) -> tuple[GenerationPoint, GenerationPoint]:
    """:data:`TOKENS` and :data:`FIRST`, shortened to the positions that ``model`` has."""
    context = context_length(model)
    return fitting((TOKENS,), context)[0], fitting((FIRST,), context)[0]


def original_decoder(model: Model, options: RuntimeOptions) -> OrtDecoder | None:
    """The network as given, ready to generate; None where it is no decoder that a loop knows how to feed."""
    if decoder_interface(model) is None:
        return None
    source = model.source if isinstance(model.source, onnx.ModelProto) else DecoderSource(Path(model.source))
    try:
        return open_decoder(source, options, model.folder, cache_sizes(model))
    except ModelError:  # it takes more than ids, mask, positions and past
        return None


def pruned_decoder(model: Model, options: RuntimeOptions) -> OrtDecoder:
    """A smaller network in memory, ready to generate.

    Raises
    ------
    ModelError
        The runtime cannot load it.
    """
    return open_decoder(lambda: to_proto(model), options, model.folder, cache_sizes(model))


def step_feeds(decoder: OrtDecoder, point: GenerationPoint, batch: int, *, is_first: bool) -> Feeds:
    """What ``decoder`` is fed at ``point``: the prompt, or one token with the cache of half the way."""
    ids = prompts(point, batch, decoder.vocabulary, 0)
    if is_first:
        return prefill(decoder.interface, decoder.specs, ids, sizes=decoder.sizes)
    ids = np.tile(ids, (1, 1 + point.new // (2 * point.prompt)))
    fed = prefill(decoder.interface, decoder.specs, ids, sizes=decoder.sizes)
    names = [tensor.present for tensor in decoder.interface.cache]
    gave = dict(zip(names, run(decoder.session, fed, names), strict=True))
    return next_step(decoder.interface, fed, gave, ids[:, -1:])
