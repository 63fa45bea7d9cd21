"""How good two models are on the same data: top-1 with labels, agreement with the original without."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnx

from graphprune.data.dataset import Data
from graphprune.errors import DataError
from graphprune.runtime.sessions import RuntimeOptions, open_session, run


@dataclass(frozen=True)
class Evaluation:
    """``kind`` ``top1``: share of samples whose largest output is the label, before and after.

    ``kind`` ``agreement``: share of positions where both models have the same largest output; ``before`` is 1.
    """

    kind: Literal["top1", "agreement"]
    before: float
    after: float
    samples: int


def evaluate(
    original: Path | onnx.ModelProto,
    pruned: Path | onnx.ModelProto,
    folder: Path | None,
    data: Data,
    batch: int,
    options: RuntimeOptions,
) -> Evaluation:
    """Run both models over ``data``; the first output is the one that counts.

    Raises
    ------
    DataError
        There are labels, but the first output is not one row of class scores per sample.
    """
    sessions = [open_session(model, options, folder) for model in (original, pruned)]
    hits = np.zeros(2, dtype=np.int64)
    samples = positions = 0
    labelled = True
    for part in data.batches(batch):
        labelled = part.labels is not None
        scores = [run(session, part.feeds)[0] for session in sessions]
        axis = 1 if scores[0].ndim == 4 else -1
        chosen = [score.argmax(axis) for score in scores]
        if part.labels is None:
            hits += [chosen[0].size, int((chosen[0] == chosen[1]).sum())]
        else:
            if scores[0].ndim != 2:
                shape = list(scores[0].shape)
                raise DataError(
                    f"labels need class scores [samples, classes], the first output is {shape}", "drop them"
                )
            if part.labels.min() < 0 or part.labels.max() >= scores[0].shape[1]:
                span = f"{part.labels.min()} to {part.labels.max()}"
                raise DataError(
                    f"the labels of {data.origin} run from {span}, but the model has {scores[0].shape[1]} classes",
                    "number the classes from 0",
                )
            hits += [int((choice == part.labels).sum()) for choice in chosen]
        positions += chosen[0].size
        samples += len(part)
    before, after = (float(hit) / positions for hit in hits)
    return Evaluation("top1" if labelled else "agreement", before, after, samples)
