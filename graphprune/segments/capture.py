"""Inner tensors of a model, batch by batch: all taps of one batch at a time, never a list over the data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from graphprune.data.batching import Batch
from graphprune.data.dataset import Data
from graphprune.ir.model import Model
from graphprune.runtime.sessions import RuntimeOptions, open_model, run


def axes_of_samples(model: Model, tensors: Sequence[str], data: Data, options: RuntimeOptions) -> dict[str, int]:
    """The axis of each tensor that counts samples: the one that grows with them, found by running one and two.

    It is the first one where samples are the rows of all inputs, or runs of their own.
    """
    axes = dict.fromkeys(tensors, 0)
    if data.batching.is_rows or data.fixed_batch is not None:
        return axes
    session = open_model(model, options, tensors)
    one, two = (run(session, data.first(samples), list(tensors)) for samples in (1, 2))
    for name, before, after in zip(tensors, one, two, strict=True):
        grown = [axis for axis in range(before.ndim) if before.shape[axis] != after.shape[axis]]
        axes[name] = grown[0] if grown else 0
    return axes


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
