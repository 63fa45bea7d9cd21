"""Samples of any kind for any model: what the data room reads, completed where it is token ids."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from graphprune.data.batching import Batching
from graphprune.data.dataset import DEFAULT_SAMPLES, Data, load_data
from graphprune.ir.model import Model
from graphprune.text.inputs import token_inputs, with_tokens


def open_data(source: Any, model: Model, limit: int | None = DEFAULT_SAMPLES, batching: Batching | None = None) -> Data:
    """As :func:`graphprune.data.dataset.load_data`; samples of a model of tokens need ids only."""
    data = load_data(source, model, limit, batching)
    inputs = None if isinstance(source, Data) else token_inputs(model)
    if inputs is None or len(data.specs) == 1:
        return data
    return replace(with_tokens(data, inputs), tokens=inputs.names if inputs.decoder is not None else None)
