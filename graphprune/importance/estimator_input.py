"""What the estimators take: features and labels, refused as scikit-learn and graphprune's commands ask."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_array, validate_data

from graphprune.errors import DataError
from graphprune.importance.vip import Matrix


class EstimatorInputError(DataError, ValueError):
    """Features or labels nothing can be learnt from: a ``ValueError`` for pipelines, exit code 1 for commands."""


def checked_features(features: ArrayLike, estimator: BaseEstimator | None = None, *, first: bool = True) -> Matrix:
    """As (n, m) float64, finite, with n at least 1.

    ``estimator`` remembers m and the names of a data frame's columns if this is its ``first`` call, and compares them
    with what it remembers if not.

    Raises
    ------
    EstimatorInputError
        They are not, in scikit-learn's words.
    """
    try:
        if estimator is None:
            array = check_array(features, dtype=np.float64)
        else:
            array = validate_data(estimator, features, reset=first, dtype=np.float64)
    except ValueError as error:
        why = str(error).rstrip(".")
        raise EstimatorInputError(why, "give a matrix (samples, features) of finite numbers") from error
    return np.asarray(array)


def checked_labels(labels: ArrayLike | None, n: int) -> NDArray[Any]:
    """As (n,) array; a single column will do.

    Raises
    ------
    EstimatorInputError
        There are none, or not one for each of n samples.
    """
    if labels is None:
        raise EstimatorInputError("requires y to be passed, but the target y is None", "give one label per sample")
    array: NDArray[Any] = np.asarray(labels)
    if array.shape == (n, 1):
        array = array[:, 0]
    if array.shape != (n,):
        raise EstimatorInputError(f"got labels of shape {array.shape} for {n} samples", "give one label per sample")
    return array
