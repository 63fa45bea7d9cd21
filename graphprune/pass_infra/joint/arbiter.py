"""Who judges two children: CKA with their parent's representation, or the loss on labels.
Samples as the network sees them.

Linear CKA, biased, as in "Pruning Everything, Everywhere, All at Once" (IJCNN 2025), or one of the other measures that
the paper tries; there on test images, here on samples that took no part in choosing or repairing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from graphprune.analysis.representation import Representation
from graphprune.data.dataset import Data
from graphprune.errors import DataError
from graphprune.ir.model import Model
from graphprune.runtime.execution import Execution
from graphprune.runtime.sessions import open_model, run
from graphprune.scoring.dissimilarity import Dissimilarities
from graphprune.segments.capture import capture

Arbiter = Literal["cka", "loss"]
Similarity = Literal["cka", "linear", "gaussian", "wasserstein"]
"""What stands in for CKA where it is not asked for: a distance, small where two networks are alike."""

_METRICS: dict[Similarity, str] = {
    "cka": "cka",
    "linear": "linear_1",
    "gaussian": "gaussian_stochastic_1",
    "wasserstein": "wasserstein",
}

_MIN_ROWS = 3  # the centred rows of two samples are opposite: their CKA is always 1

Seen = tuple[Model, Sequence[Representation]]
"""A network and the tensors that stand for what it knows."""


def distances(
    parent: Seen, children: Sequence[Seen], data: Data, execution: Execution, similarity: Similarity
) -> list[float]:
    """How far each child is from the parent, the mean over the representations; of CKA what it lacks of 1.

    Raises
    ------
    DataError
        There are too few samples, the parent's representation does not vary, or the measure needs labels.
    """
    metric = _METRICS[similarity]
    streams = [Dissimilarities([metric]) for _ in parent[1]]
    runs = [
        capture(model, [each.tensor for each in representations], data, execution.batch, execution.runtime)
        for model, representations in (parent, *children)
    ]
    for parts in zip(*runs, strict=True):
        for place, stream in enumerate(streams):
            stream.reference(_features(parent, parts[0][1], place), parts[0][0].labels)
            for index, (child, (_, values)) in enumerate(zip(children, parts[1:], strict=True)):
                stream.candidate(index, _features(child, values, place))
    if min(stream.rows for stream in streams) < _MIN_ROWS:
        raise DataError(f"{data.origin} leaves fewer than {_MIN_ROWS} samples to judge by", "give more data")
    if not any(stream.is_informative for stream in streams):
        raise DataError(f"the representation is the same for all samples of {data.origin}, or not finite", "check them")
    found = [[stream.result(index) for stream in streams] for index in range(len(children))]
    why = next((each.left_out[metric] for each in found[0] if each.left_out), "")
    if why:
        raise DataError(f"similarity={similarity} cannot be told: {why}", "add them, or take similarity=cka")
    return [float(np.mean([each.values[metric] for each in one])) for one in found]


def losses(models: Sequence[Model], data: Data, execution: Execution) -> list[float]:
    """Mean cross-entropy (nats) of each network's first output, class scores (n, classes), on the labels of ``data``.

    Raises
    ------
    DataError
        There are no labels, or they do not fit the output.
    """
    sessions = [open_model(model, execution.runtime) for model in models]
    sums, samples = np.zeros(len(models)), 0
    for part in data.batches(execution.batch):
        if part.labels is None:
            raise DataError(
                f"{data.origin} has no labels, and arbiter=loss needs them", "add them, or take arbiter=cka"
            )
        for index, (model, session) in enumerate(zip(models, sessions, strict=True)):
            scores = run(session, part.feeds)[0].astype(np.float64)
            if scores.ndim != 2 or part.labels.min() < 0 or part.labels.max() >= scores.shape[1]:
                raise DataError(
                    f"the labels of {data.origin} do not fit the first output, {list(scores.shape)}",
                    "arbiter=loss wants class scores [samples, classes] and classes numbered from 0; or take "
                    "arbiter=cka",
                )
            sums[index] += -_log_shares(model, scores)[np.arange(len(scores)), part.labels].sum()
        samples += len(part)
    return [float(each) for each in sums / samples]


def _features(seen: Seen, values: dict[str, np.ndarray], place: int) -> NDArray[np.floating]:
    representation = seen[1][place]
    return representation.features(values[representation.tensor])


def _log_shares(model: Model, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The logarithm of the class probabilities; a network that ends with Softmax gives these already."""
    if model.graph.outputs[0].inputs[0].op == "Softmax":
        return np.log(np.maximum(scores, np.finfo(np.float32).tiny))
    shifted = scores - scores.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
