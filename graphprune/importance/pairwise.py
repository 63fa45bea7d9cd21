"""Linear CKA between every two of several feature matrices of the same samples.

Kornblith et al. 2019: with centred Gram matrices ``K_i = X_i X_i'`` it is ``<K_i, K_j> / (|K_i| |K_j|)``, so that one
product of all of them, unrolled, gives all pairs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_CONSTANT = 1e-12
"""Features that vary by less than this share of their size are the same for all samples."""


def pairwise_cka(features: Sequence[NDArray[np.floating]]) -> NDArray[np.float64]:
    """Matrix (p, p) of the linear CKA between ``features``, p matrices (n, d_i) with paired rows; 0 for constant ones.

    Takes ``4 p n^2`` bytes: the Gram matrices are kept in float32, each scaled to norm one.
    """
    grams = np.stack([_unit_gram(each) for each in features]).reshape(len(features), -1)
    return np.clip(np.asarray(grams @ grams.T, np.float64), 0.0, 1.0)


def _unit_gram(features: NDArray[np.floating]) -> NDArray[np.float32]:
    x = np.asarray(features, np.float64)
    centred = x - x.mean(0)
    gram = centred @ centred.T
    size = float(np.linalg.norm(gram))
    is_constant = not np.isfinite(size) or size <= _CONSTANT * float(np.sum(x**2))
    return np.zeros(gram.shape, np.float32) if is_constant else np.asarray(gram / size, np.float32)
