"""Decoders run over several tokens with their own cache, by plain ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx
import onnxruntime as ort

from graphprune.analysis.model_analysis import ModelAnalysis, analyse
from graphprune.data.dataset import input_specs
from graphprune.decoder.cache_sizes import cache_sizes
from graphprune.decoder.interface import decoder_interface
from graphprune.decoder.steps import Arrays, next_step, prefill
from graphprune.ir.loading import load
from graphprune.ir.model import Model
from graphprune.runtime.sessions import RuntimeOptions


def looked_at(proto: onnx.ModelProto) -> ModelAnalysis:
    """The analysis at one sample of four positions."""
    model = load(proto)
    return analyse(model, first_feeds(model, np.zeros((1, 4), np.int64)), RuntimeOptions(threads=1))


def first_feeds(model: Model, ids: np.ndarray) -> Arrays:
    """Feeds of the first step of a decoder."""
    decoder = decoder_interface(model)
    assert decoder is not None
    return prefill(decoder, {spec.name: spec for spec in input_specs(model)}, ids, sizes=cache_sizes(model))


def steps(proto: onnx.ModelProto, ids: np.ndarray, tokens: Sequence[int] | None, count: int = 2) -> Iterator[Arrays]:
    """Outputs of the first step and of ``count`` more, which are given ``tokens``, or take the likeliest."""
    model = load(proto)
    decoder = decoder_interface(model)
    assert decoder is not None
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(proto.SerializeToString(), options, ["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    feeds = first_feeds(model, ids)
    for number in range(count + 1):
        gave = dict(zip(names, session.run(names, feeds), strict=True))
        yield gave
        likeliest = gave[decoder.logits][:, -1:].argmax(axis=-1)
        token = likeliest if tokens is None else np.full((len(ids), 1), tokens[number % len(tokens)])
        feeds = next_step(decoder, feeds, gave, token)
