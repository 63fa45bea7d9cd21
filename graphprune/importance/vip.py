"""Variable importance in projection (VIP) of features in a partial least squares (PLS) model of the labels.

As a criterion for filters: Jordao et al., "Pruning Deep Neural Networks using Partial Least Squares" (BMVC Workshops
2019) and "Deep Network Compression Based on Partial Least Squares" (Neurocomputing 2020): one feature per filter, all
filters of the network in one PLS, low VIP goes first. PLS itself: NIPALS in regression mode, by scikit-learn.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from graphprune.errors import DataError, OptionError

Floats = NDArray[np.floating[Any]]
Matrix = NDArray[np.float64]

_MIN_SAMPLES = 3
_DEAD = 4.0  # rounding errors of the features' own type
_EXHAUSTED = 100 * float(np.finfo(np.float64).eps)


def vip(weights: Matrix, scores_squared: Matrix, loadings_squared: Matrix) -> Matrix:
    """``VIP_j = sqrt(p * sum_a s_a w_ja^2 / sum_a s_a)`` with ``s_a = (t_a't_a)(q_a'q_a)``.

    Parameters
    ----------
    weights
        (p, c) unit columns ``w_a``, of informative features only.
    scores_squared
        (c,) ``t_a't_a``, squared lengths of the scores over the samples.
    loadings_squared
        (c,) ``q_a'q_a``, squared lengths of the response loadings.

    Returns
    -------
    (p,) float64, dimensionless, with ``sum(VIP^2) = p``, so that their root mean square is 1. All 0 where no component
    explains anything of the responses (``sum_a s_a = 0``).
    """
    explained = scores_squared * loadings_squared
    total = explained.sum()
    if not total > 0:
        return np.zeros(len(weights))
    # Divided first: the products of large scores would overflow.
    return np.asarray(np.sqrt(len(weights) * (weights**2 @ (explained / total))))


def one_hot(labels: ArrayLike) -> Matrix:
    """(n, k) float64 indicators of the (n,) labels: column j is 1 where the label is the j-th smallest that occurs.

    Raises
    ------
    DataError
        The labels are not one per sample.
    """
    array = np.asarray(labels)
    if array.ndim != 1 or not array.size:
        raise DataError(f"labels of shape {array.shape} are not one class per sample", "give a list of class numbers")
    classes = np.unique(array)
    return np.asarray(array[:, None] == classes, np.float64)


def informative(mean: Matrix, std: Matrix, dtype: DTypeLike) -> NDArray[np.bool_]:
    """Which features (p,) vary by more than the rounding of ``dtype``, the type they were computed in.

    Standardising any other would blow rounding noise up to the size of a feature.
    """
    kind = np.dtype(dtype)
    eps = float(np.finfo(kind).eps) if kind.kind == "f" else float(np.finfo(np.float64).eps)
    return np.asarray(std > _DEAD * eps * np.abs(mean))


def pls_vip(features: Floats, responses: Matrix, components: int = 2) -> Matrix:
    """VIP of every feature in a PLS regression of the responses, both standardised.

    Features that do not vary (dead channels) get 0, and PLS does not see them: ``p`` of the formula counts the
    informative features only, so ``sum(VIP^2)`` is their number and dead ones do not move the scores of the rest.
    Fewer components are used where there are no more: at most ``min(n - 1, p)``, the rank of the features, and what
    the responses have to explain.

    Parameters
    ----------
    features
        (n, p) any float type; not changed. Works in float64 on copies of it, at most three at a time.
    responses
        (n, k), usually :func:`one_hot` labels; columns that do not vary are ignored.
    components
        Number of PLS components c; the papers use 2.

    Returns
    -------
    (p,) float64, dimensionless, at least 0; root mean square 1 over the informative features.

    Raises
    ------
    DataError
        Fewer than 3 samples or 2 classes, values that are not finite, no feature that varies, or none related to the
        responses.
    OptionError
        ``components`` is less than 1.
    """
    if components < 1:
        raise OptionError(f"PLS cannot have {components} components", "write 1 or more")
    if features.ndim != 2 or responses.ndim != 2 or len(features) != len(responses):
        shapes = f"features {features.shape} and responses {responses.shape}"
        raise DataError(f"PLS got {shapes}, not one row of each per sample", "give one label per sample")
    if len(features) < _MIN_SAMPLES:  # any two samples are told apart by every feature equally well
        raise DataError(f"PLS cannot rank features by {len(features)} samples", f"give {_MIN_SAMPLES} or more")
    y, _ = _standardised(responses, "responses")
    if not y.shape[1]:
        raise DataError("all samples given to PLS have one label, so no feature can tell classes apart", "give others")
    x, alive = _standardised(features, "features")
    if not x.shape[1]:
        raise DataError(f"none of the {len(alive)} features varies over the samples given to PLS", "give other samples")
    scores = np.zeros(len(alive))
    scores[alive] = vip(*_components(x, y, min(components, len(x) - 1, x.shape[1])))
    return scores


def _standardised(values: Floats, name: str) -> tuple[Matrix, NDArray[np.bool_]]:
    """Informative columns as float64 with mean 0 and variance 1, and which columns (p,) these are."""
    x = values.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        first = x[0].copy()
        x -= first  # leaves exact zeros of what is constant, where a mean is off by rounding
        mean, std = x.mean(0), x.std(0)
    if not np.isfinite(std).all():
        count = int(np.sum(~np.isfinite(std)))
        raise DataError(f"{count} of the {len(std)} {name} given to PLS are not finite", "look for NaN in the samples")
    alive = informative(first + mean, std, values.dtype)
    x = x[:, alive]
    x -= mean[alive]
    x /= std[alive]
    return x, alive


def _components(x: Matrix, y: Matrix, most: int) -> tuple[Matrix, Matrix, Matrix]:
    """Weights (p, c), ``t't`` (c,) and ``q'q`` (c,) of at most ``most`` PLS components; changes ``x``."""
    # scikit-learn takes a second to import, and the command line must not.
    from sklearn.cross_decomposition import PLSRegression

    exhausted = _EXHAUSTED * np.linalg.norm(x) * np.linalg.norm(y)
    found: list[tuple[Matrix, float, float]] = []
    # One component at a time: scikit-learn divides by zero once features or responses have nothing left to give, and
    # what rounding leaves of them would look like a component.
    while len(found) < most:
        _, singular, rotation = np.linalg.svd(x.T @ y, full_matrices=False)
        if singular[0] <= exhausted:
            break
        # A rotation of the responses changes neither weights nor q'q. After this one NIPALS starts at its answer;
        # from a column of y it crawls there, and scikit-learn's tolerance stops it so early that VIPs depend on the
        # order of the classes in their second digit.
        y = y @ rotation.T
        model = PLSRegression(n_components=1, scale=False).fit(x, y)
        score, loading = model.x_scores_[:, 0], model.y_loadings_[:, 0]
        found.append((model.x_weights_[:, 0], float(score @ score), float(loading @ loading)))
        x -= np.outer(score, model.x_loadings_[:, 0])
        y -= np.outer(score, loading)
    if not found:
        raise DataError(f"none of the {x.shape[1]} features that vary has to do with the labels", "check the labels")
    weights, scores_squared, loadings_squared = zip(*found, strict=True)
    return np.column_stack(weights), np.array(scores_squared), np.array(loadings_squared)
