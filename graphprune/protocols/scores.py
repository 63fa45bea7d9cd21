"""How well activities are told apart, over folds of test windows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import t as student
from sklearn.metrics import accuracy_score, f1_score, recall_score

from graphprune.errors import DataError


class FoldScores(NamedTuple):
    """Shares [0, 1] of one fold; recall and F1 are means over the classes that occur in the truth or the answers."""

    accuracy: float
    recall: float
    f1: float


class OverFolds(NamedTuple):
    """A mean over folds, and the half width of its interval of Student's t, by default of 90 % as in the paper."""

    mean: float
    half_width: float


def fold_scores(truth: np.ndarray, predicted: np.ndarray) -> FoldScores:
    """Of the labels (n,) and the predicted labels (n,) of a fold's test windows.

    Raises
    ------
    DataError
        There are no windows, or not one prediction for each.
    """
    if truth.shape != predicted.shape or truth.ndim != 1 or not truth.size:
        raise DataError(f"labels {truth.shape} and predictions {predicted.shape} do not go together", "give (n,) each")
    averaged = {"average": "macro", "zero_division": 0}
    return FoldScores(
        float(accuracy_score(truth, predicted)),
        float(recall_score(truth, predicted, **averaged)),
        float(f1_score(truth, predicted, **averaged)),
    )


def over_folds(values: Sequence[float], confidence: float = 0.9) -> OverFolds:
    """``mean +- t s / sqrt(K)`` over K folds; NaN for the half width of one fold.

    Raises
    ------
    DataError
        There is no fold.
    """
    if not len(values):
        raise DataError("there are no folds to take a mean over", "give at least one")
    mean = float(np.mean(values))
    if len(values) < 2:
        return OverFolds(mean, math.nan)
    factor = float(student.ppf((1 + confidence) / 2, len(values) - 1))
    return OverFolds(mean, factor * float(np.std(values, ddof=1)) / math.sqrt(len(values)))
