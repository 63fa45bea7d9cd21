"""Inner tensors of a model, batch by batch: all taps of one batch at a time, never a list over the data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from graphprune.data.batching import Batch
from graphprune.data.dataset import Data
from graphprune.ir.model import Model
from graphprune.runtime.sessions import RuntimeOptions, open_model, run


def capture(
    model: Model, tensors: Sequence[str], data: Data, batch: int, options: RuntimeOptions
) -> Iterator[tuple[Batch, dict[str, np.ndarray]]]:
    """Yield each batch of ``data`` with the named tensors' values (name -> array as the graph computes it)."""
    inputs = {tensor.name for tensor in model.graph.inputs}
    taps = [name for name in dict.fromkeys(tensors) if name not in inputs]
    session = open_model(model, options, taps)
    for part in data.batches(batch):
        values = dict(zip(taps, run(session, part.feeds, taps), strict=True))
        yield part, values | {name: part.feeds[name] for name in tensors if name in inputs}
