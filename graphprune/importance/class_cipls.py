"""CIPLS of several classes, one against the rest, and the VIP of a stream of labelled features made with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from graphprune.errors import DataError
from graphprune.importance.cipls import CIPLS, Variant, spread
from graphprune.importance.estimator_input import EstimatorInputError, checked_features, checked_labels
from graphprune.importance.vip import Floats, Matrix, informative

Batches = Callable[[], Iterable[tuple[Floats, NDArray[Any]]]]


class ClassCIPLS(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]  # no types
    """One :class:`CIPLS` per class, +1 for the class and -1 for the rest (Jordao et al., WACV 2021).

    Parameters
    ----------
    n_components
        Components c of each class.
    variant
        As in :class:`CIPLS`.

    Attributes
    ----------
    classes_ : (k,) array
        Sorted labels.
    models_ : list of k CIPLS
        In the order of ``classes_``.
    """

    def __init__(self, n_components: int = 2, variant: Variant = "normalised") -> None:
        self.n_components = n_components
        self.variant = variant

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:  # noqa: N803 - scikit-learn's name
        """Forget everything and learn from (n, m) features and (n,) labels. Raises as :meth:`partial_fit`."""
        for name in [name for name in vars(self) if name.endswith("_")]:
            delattr(self, name)
        return self.partial_fit(X, y)

    def partial_fit(self, X: ArrayLike, y: ArrayLike, classes: ArrayLike | None = None) -> Self:  # noqa: N803
        """Learn from more samples, (n, m) features and (n,) labels.

        ``classes`` are all labels there will ever be, those of the first call if not given there: a class met later
        would have missed the samples before, and is refused.

        Raises
        ------
        EstimatorInputError
            Fewer than two classes, a label that is none of them, or as :meth:`CIPLS.partial_fit`.
        """
        starts = not hasattr(self, "models_")
        features = checked_features(X, self, first=starts)
        labels = checked_labels(y, len(features))
        if starts:
            self._start(labels if classes is None else np.asarray(classes))
        unknown = np.setdiff1d(labels, self.classes_)
        if unknown.size:
            raise EstimatorInputError(
                f"label {unknown.tolist()[0]!r} is none of the {len(self.classes_)} classes",
                "pass classes= with every label to the first partial_fit",
            )
        for name, model in zip(self.classes_, self.models_, strict=True):
            model.partial_fit(features, labels == name)
        return self

    def transform(self, X: ArrayLike) -> Matrix:  # noqa: N803
        """Scores (n, k c) of (n, m) features: the c scores of the first class, of the second, ..."""
        check_is_fitted(self, "models_")
        features = checked_features(X, self, first=False)
        return np.hstack([model.transform(features) for model in self.models_])

    def vip(self) -> Matrix:
        """VIP of every feature, (m,) float64, by the formula over the components of all classes together.

        A component counts by what it explains of its class's labels, so a class that nothing tells apart has no say
        (in a mean of the classes' VIPs it would add its noise). ``sum(VIP^2)`` is the number of features that vary.
        """
        check_is_fitted(self, "models_")
        weights = np.vstack([model.unit_weights() for model in self.models_]).T
        scores_squared, loadings_squared = (
            np.concatenate(parts) for parts in zip(*(model.explained() for model in self.models_), strict=True)
        )
        first = self.models_[0]
        return spread(first.high_ > first.low_, weights, scores_squared, loadings_squared)

    @property
    def _n_features_out(self) -> int:
        return self.n_components * len(self.models_)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags

    def _start(self, labels: NDArray[Any]) -> None:
        self.classes_ = np.unique(labels)
        if len(self.classes_) < 2:
            count = len(self.classes_)
            raise EstimatorInputError(f"ClassCIPLS got {count} class, and there is nothing to tell apart", "give 2")
        self.models_ = [CIPLS(self.n_components, self.variant) for _ in self.classes_]


def cipls_vip(batches: Batches, components: int = 2, variant: Variant = "normalised") -> Matrix:
    """VIP of every feature by :class:`ClassCIPLS` on standardised features, in memory that does not grow with the data.

    Two passes: the first for means, variances and classes, the second for PLS. Features that vary by no more than the
    rounding of their type get 0 and are left out, as in :func:`graphprune.importance.vip.pls_vip`.

    Parameters
    ----------
    batches
        Called once per pass; yields features (n, m) and labels (n,) in the same order each time.
    components, variant
        Of :class:`CIPLS`.

    Returns
    -------
    (m,) float64, dimensionless; root mean square 1 over the informative features.

    Raises
    ------
    DataError
        There are no samples, no feature varies, or as :meth:`ClassCIPLS.partial_fit`.
    """
    scaler, classes = StandardScaler(), np.array([])
    first: Matrix | None = None
    dtype: DTypeLike = np.float64
    for features, labels in batches():
        x = checked_features(features)
        if first is not None and x.shape[1] != len(first):
            raise DataError(f"a batch has {x.shape[1]} features after one of {len(first)}", "give equal batches")
        if first is None:
            first, dtype, classes = x[0].copy(), features.dtype, np.unique(labels)
        scaler.partial_fit(x - first)  # leaves exact zeros of what is constant, where a mean is off by rounding
        classes = np.union1d(classes, labels)
    if first is None:
        raise DataError("there are no samples to score features by", "give calibration data with labels")
    alive = informative(first + scaler.mean_, np.sqrt(scaler.var_), dtype)
    if not alive.any():
        raise DataError(f"none of the {len(alive)} features varies over the samples", "give other samples")
    model = ClassCIPLS(components, variant)
    for features, labels in batches():
        x = checked_features(features) - first
        model.partial_fit(scaler.transform(x)[:, alive], labels, classes)
    scores = np.zeros(len(alive))
    scores[alive] = model.vip()
    return scores
