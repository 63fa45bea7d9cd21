"""Covariance-free incremental partial least squares (CIPLS): PLS in one pass over a stream of labelled samples.

Jordao et al., "Covariance-Free Partial Least Squares: An Incremental Dimensionality Reduction Method" (WACV 2021).
O(n m c) time, O(m c) memory for n samples, m features, c components; no covariance matrix. Importing this module
imports scikit-learn, which takes a second: the command line imports it when it needs it.
"""

from __future__ import annotations

import math
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import ClassifierTags, Tags
from sklearn.utils.validation import check_is_fitted

from graphprune.errors import DataError, OptionError
from graphprune.importance.estimator_input import EstimatorInputError, checked_features, checked_labels
from graphprune.importance.vip import Matrix, vip

Variant = Literal["normalised", "released"]

_NOISE = 1e-10


class CIPLS(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]  # has no types
    """Incremental PLS of a scalar response y in {-1, +1}.

    Component 1 equals that of batch PLS on centred features, in whatever order the samples come. Later components do
    not, in either variant: early samples were deflated by immature loadings.

    Parameters
    ----------
    n_components
        Number of components c.
    variant
        ``"normalised"`` deflates by the regression ``p_k / sum t_k^2`` on a component's own scores. ``"released"`` is
        the authors' public code: it deflates by the bare sum ``p_k`` and sums the loadings of component k with the
        scores of component k - 1. Its components beyond the first have little to do with PLS, grow with the number of
        samples and depend on the features' unit; it is there to reproduce published numbers.

    Attributes
    ----------
    n_samples_seen_ : int
        Number n of samples so far.
    n_features_in_ : int
        Number m of features.
    mean_ : (m,) float64
        Running mean of the features, in their unit.
    label_sum_ : float
        Sum of y; y itself is not centred.
    weights_ : (c, m) float64
        Sums ``w_k``, not of unit length.
    x_loadings_ : (c, m) float64
        Sums ``p_k`` of feature times score.
    y_loadings_ : (c,) float64
        Sums ``q_k`` of response times score.
    scores_squared_ : (c,) float64
        ``S_k``, sums of the squared scores.
    response_scores_ : (c,) float64
        Sums of deflated response times the component's own score; ``y_loadings_`` in the normalised variant.
    distance_sum_ : float
        Sum of the samples' distances from the running mean. A component whose weights are shorter than 1e-10 of it
        has nothing but rounding errors for a direction: the first while all samples are of one class, later ones
        while those before them explain everything. It gives no scores until it has one.
    low_, high_ : (m,) float64
        Smallest and largest value of every feature.
    """

    def __init__(self, n_components: int = 2, variant: Variant = "normalised") -> None:
        self.n_components = n_components
        self.variant = variant

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:  # noqa: N803 - scikit-learn's name
        """Forget everything and learn from (n, m) features and (n,) labels. Raises as :meth:`partial_fit`.

        Here any two labels will do, for all of them are seen: the smaller one is -1.
        """
        for name in [name for name in vars(self) if name.endswith("_")]:
            delattr(self, name)
        return self.partial_fit(X, _two_as_signs(y))

    def partial_fit(self, X: ArrayLike, y: ArrayLike) -> Self:  # noqa: N803
        """Learn from more samples, one after the other: how they are cut into calls does not matter.

        Parameters
        ----------
        X
            (n, m) features; not changed.
        y
            (n,) labels, all -1 or +1, and one class alone will do. Booleans, and 0 and 1 where *both* occur, are
            taken for -1 and +1.

        Raises
        ------
        EstimatorInputError
            A :class:`DataError` and ``ValueError``: shapes or labels are not as above, or values are not finite.
        DataError
            The released variant has outgrown float64.
        OptionError
            ``n_components`` or ``variant`` is not legal.
        """
        self._check_options()
        starts = not hasattr(self, "n_samples_seen_")
        features = checked_features(X, self, first=starts)
        labels = _signs(checked_labels(y, len(features)))
        if starts:
            self._start(features.shape[1])
        np.minimum(self.low_, features.min(0), out=self.low_)
        np.maximum(self.high_, features.max(0), out=self.high_)
        with np.errstate(over="ignore", invalid="ignore"):
            for x, label in zip(features, labels.tolist(), strict=True):
                self._learn(x, label)
        if not (np.isfinite(self.weights_).all() and np.isfinite(self.scores_squared_).all()):
            raise DataError(
                f"CIPLS '{self.variant}' has outgrown float64 by sample {self.n_samples_seen_}",
                "use the variant 'normalised', fewer components or standardised features",
            )
        return self

    def transform(self, X: ArrayLike) -> Matrix:  # noqa: N803
        """Scores (n, c) of (n, m) features: ``(x - mean)' w_k / |w_k|``, without PLS's rotation, as in the paper.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Nothing has been learnt yet.
        EstimatorInputError
            Features are not as in :meth:`partial_fit`.
        """
        check_is_fitted(self, "n_samples_seen_")
        return np.asarray((checked_features(X, self, first=False) - self.mean_) @ self.unit_weights().T)

    def unit_weights(self) -> Matrix:
        """(c, m) weights of unit length; a component without a direction yet is 0."""
        norms = np.linalg.norm(self.weights_, axis=1, keepdims=True)
        known = norms > _NOISE * self.distance_sum_
        return np.where(known, self.weights_ / np.where(known, norms, 1.0), 0.0)

    def vip(self) -> Matrix:
        """VIP of every feature, (m,) float64: 0 where it never varied, root mean square 1 over the others.

        ``s_k = q_k^2 / S_k`` with ``q_k`` the sum of response times own score (:func:`graphprune.importance.vip.vip`).
        CIPLS does not standardise: features of different units need that before, as
        :func:`graphprune.importance.class_cipls.cipls_vip` does. In the released variant the last component, with its
        outsized scores, decides alone.
        """
        check_is_fitted(self, "n_samples_seen_")
        return spread(self.high_ > self.low_, self.unit_weights().T, *self.explained())

    def explained(self) -> tuple[Matrix, Matrix]:
        """``t_k't_k`` (c,) and ``q_k'q_k`` (c,) with ``q_k`` the loadings of a regression on the scores."""
        used = self.scores_squared_ > 0
        loadings = self.response_scores_ / np.where(used, self.scores_squared_, 1.0)
        return self.scores_squared_.copy(), loadings**2

    @property
    def _n_features_out(self) -> int:
        return self.n_components

    def _start(self, width: int) -> None:
        self.n_samples_seen_, self.label_sum_ = 0, 0.0
        self.distance_sum_ = 0.0
        self.mean_ = np.zeros(width)
        self.low_, self.high_ = np.full(width, np.inf), np.full(width, -np.inf)
        self.weights_ = np.zeros((self.n_components, width))
        self.x_loadings_ = np.zeros((self.n_components, width))
        self.y_loadings_ = np.zeros(self.n_components)
        self.scores_squared_ = np.zeros(self.n_components)
        self.response_scores_ = np.zeros(self.n_components)

    def _learn(self, x: Matrix, label: float) -> None:
        """One sample, (m,) features and a label of -1 or +1."""
        self.n_samples_seen_ += 1
        step = (x - self.mean_) / self.n_samples_seen_
        self.mean_ += step
        u = x - self.mean_
        self.distance_sum_ += math.sqrt(u @ u)
        # Moving the mean by `step` takes `step * y_i` off every earlier term of w_1 = sum_i (x_i - mean) y_i.
        self.weights_[0] -= step * self.label_sum_
        self.label_sum_ += label
        (self._deflate_normalised if self.variant == "normalised" else self._deflate_released)(u, label)

    def _deflate_normalised(self, u: Matrix, y: float) -> None:
        for k, (w, p) in enumerate(zip(self.weights_, self.x_loadings_, strict=True)):
            t = self._score(k, w, u, y)
            if t is None:  # what no component k has been taken out of is nothing for component k + 1 to learn from
                return
            if t:
                self.y_loadings_[k] += y * t
                p += t * u
                slope = t / self.scores_squared_[k]
                u -= slope * p
                y -= slope * self.y_loadings_[k]

    def _deflate_released(self, u: Matrix, y: float) -> None:
        t = self._score(0, self.weights_[0], u, y) or 0.0
        self.x_loadings_[0] += t * u
        self.y_loadings_[0] += t * y
        for k in range(1, self.n_components):
            u -= t * self.x_loadings_[k - 1]
            y -= t * self.y_loadings_[k - 1]
            self.x_loadings_[k] += t * u
            self.y_loadings_[k] += t * y
            t = self._score(k, self.weights_[k], u, y) or 0.0

    def _score(self, k: int, w: Matrix, u: Matrix, y: float) -> float | None:
        """Add a deflated sample to the weights of component k (in place); its score, None without a direction yet."""
        w += y * u
        length = math.sqrt(w @ w)
        if length <= _NOISE * self.distance_sum_:
            return None
        t = float(u @ w) / length
        self.scores_squared_[k] += t * t
        self.response_scores_[k] += y * t
        return t

    def _check_options(self) -> None:
        if self.n_components < 1:
            raise OptionError(f"CIPLS cannot have {self.n_components} components", "write 1 or more")
        if self.variant not in get_args(Variant):
            raise OptionError(f"CIPLS has no variant '{self.variant}'", f"write {' or '.join(get_args(Variant))}")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.classifier_tags = ClassifierTags(multi_class=False)
        return tags


def spread(alive: NDArray[np.bool_], weights: Matrix, scores_squared: Matrix, loadings_squared: Matrix) -> Matrix:
    """VIP (m,) of weights (m, c) where only some features are alive (m,): 0 elsewhere, not counted in ``p``."""
    scores = np.zeros(len(alive))
    scores[alive] = vip(weights[alive], scores_squared, loadings_squared)
    return scores


def _two_as_signs(y: ArrayLike) -> ArrayLike:
    """Labels of exactly two kinds as -1 and +1, others as they are."""
    labels: NDArray[Any] = np.asarray(y)
    values = np.unique(labels) if labels.dtype.kind in "biufUS" else np.array([])
    return np.where(labels == values[1], 1, -1) if values.size == 2 else y


def _signs(labels: NDArray[Any]) -> Matrix:
    """Labels (n,) as -1.0 and +1.0."""
    values = set(np.unique(labels).tolist())
    if labels.dtype == np.bool_ or values == {0, 1}:
        return np.where(labels == 1, 1.0, -1.0)
    if not values <= {-1, 1}:
        some = ", ".join(map(repr, sorted(values)[:4]))
        why = " (0 alone does not say that 1 is the other class)" if values == {0} else ""
        raise EstimatorInputError(
            f"CIPLS needs labels -1 and +1, not {some}{why}", "map them, or use ClassCIPLS for classes"
        )
    return labels.astype(np.float64)
