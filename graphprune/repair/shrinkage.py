"""Gram matrices of few samples, their correlations shrunk as far as the samples disagree.

With fewer samples than inputs, some inputs look like combinations of the others which are none: a refit that leaves
nothing over on these samples fails on new ones. Schäfer & Strimmer, "A shrinkage approach to large-scale covariance
matrix estimation" (2005), after Ledoit & Wolf: correlations are shrunk towards none by the share that makes their
expected squared error least. How far they are off tells the difference between those of even and odd samples:
positions of one image are not independent, images are.
"""

from __future__ import annotations

import numpy as np

from graphprune.repair.gram import Array, HalvedSums, Sums


def shrunk(sums: HalvedSums, *, is_centred: bool) -> Array:
    """Mean products (groups, inputs, inputs) of what has been summed, about the means if ``is_centred``.

    All groups shrink by the same share. One sample says nothing of correlations: they are 0.
    """
    found, whole = _products(sums.whole, is_centred), sums.whole.n
    own = np.diagonal(found, axis1=1, axis2=2).copy()
    one, other = sums.halves
    share = 1.0
    if one.n and other.n:
        gap = _products(one, is_centred)
        gap -= _products(other, is_centred)
        seen, error = _correlated(found, own), _correlated(gap, own) * one.n * other.n / whole**2
        share = min(1.0, error / seen) if seen > 0 else 0.0
    found *= 1 - share
    np.einsum("gii->gi", found)[:] = own
    return found


def _products(sums: Sums, is_centred: bool) -> Array:
    products = sums.xx / sums.n
    if is_centred:
        products -= np.einsum("gi,gj->gij", sums.x, sums.x) / sums.n**2
    return products


def _correlated(products: Array, own: Array) -> float:
    """The sum of squares off the diagonal, for inputs whose own mean squares are made 1; dead ones do not count."""
    weights = np.where(own > 0, 1 / np.where(own > 0, own, 1.0), 0.0)
    all_ = np.einsum("gij,gij,gi,gj->", products, products, weights, weights)
    on_it = np.sum((np.diagonal(products, axis1=1, axis2=2) * weights) ** 2)
    return float(all_ - on_it)
