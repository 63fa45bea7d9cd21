"""Language models judged on token ids: by the loss of the next token, or by how far their logits are from another's.

Logits are held for as few samples at once as fit a fixed budget.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from graphprune.analysis.representation import logits_of
from graphprune.data.batching import Batch
from graphprune.data.dataset import Data
from graphprune.decoder.interface import decoder_interface
from graphprune.errors import DataError
from graphprune.importance.logits import class_losses, divergences
from graphprune.importance.row_mean import StreamedMean
from graphprune.ir.model import Model
from graphprune.runtime.execution import Execution
from graphprune.runtime.sessions import open_model, run
from graphprune.scoring.tokens import token_mask

_HELD_BYTES = 1 << 28  # of one network's logits


def next_token_losses(models: Sequence[Model], data: Data, execution: Execution) -> list[float]:
    """Mean over tokens of ``-log p(next token)`` in nats, of each network; padding counts in nothing.

    Raises
    ------
    DataError
        There is no input of token ids, or the first output holds no logits for each of them.
    """
    means = [StreamedMean() for _ in models]
    ids_name = _ids(models[0], data)
    for part, logits in _runs(models, data, execution):
        ids, mask = part.feeds[ids_name], token_mask(part)
        is_known = np.ones(ids.shape, np.bool_) if mask is None or mask.shape != ids.shape else mask
        counts = is_known[:, 1:] & is_known[:, :-1]
        for mean, values in zip(means, logits, strict=True):
            if values.shape[:-1] != ids.shape or ids.min() < 0 or ids.max() >= values.shape[-1]:
                raise DataError(
                    f"the first output {list(values.shape)} has no logits for the token ids {list(ids.shape)}",
                    "only language models can be judged by perplexity; take arbiter=random",
                )
            mean.update(class_losses(values[:, :-1][counts], ids[:, 1:][counts]), np.nonzero(counts)[0])
    return _means(means, data)


def logit_divergences(first: Model, models: Sequence[Model], data: Data, execution: Execution) -> list[float]:
    """Mean over tokens (of classifiers: samples) of ``KL(first || each)`` in nats; padding counts in nothing.

    Raises
    ------
    DataError
        The first output is no row of logits, or not finite.
    """
    means = [StreamedMean() for _ in models]
    for part, (reference, *others) in _runs((first, *models), data, execution):
        if reference.ndim < 2:
            raise DataError(f"the first output {list(reference.shape)} holds no logits", "take arbiter=random")
        rows, mask = reference.shape[:-1], token_mask(part)
        counts = mask if mask is not None and mask.shape == rows else np.ones(rows, np.bool_)
        for mean, values in zip(means, others, strict=True):
            mean.update(divergences(reference[counts], values[counts]), np.nonzero(counts)[0])
    return _means(means, data)


def _means(means: Sequence[StreamedMean], data: Data) -> list[float]:
    found = [mean.result()[0] for mean in means]
    if not np.isfinite(found).all():
        raise DataError(f"{data.origin} gives logits that are not finite, or no token to judge by", "check the data")
    return found


def _runs(
    models: Sequence[Model], data: Data, execution: Execution
) -> Iterator[tuple[Batch, list[NDArray[np.floating]]]]:
    """Each batch with the logits of each network."""
    names = [logits_of(model) for model in models]
    sessions = [open_model(model, execution.runtime) for model in models]
    one = run(sessions[0], data.first(1), names[:1])[0].nbytes
    for part in data.batches(max(1, min(execution.batch, _HELD_BYTES // max(1, one)))):
        yield part, [run(each, part.feeds, [name])[0] for each, name in zip(sessions, names, strict=True)]


def _ids(model: Model, data: Data) -> str:
    interface = decoder_interface(model)
    names = {spec.name for spec in data.specs}
    name = next((name for name in (interface.ids if interface else "", "input_ids") if name in names), None)
    if name is None:
        raise DataError(
            f"none of the inputs {', '.join(sorted(names))} is 'input_ids', so there is no next token",
            "take arbiter=kl, or arbiter=random",
        )
    return name
