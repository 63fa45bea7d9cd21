"""Norms of slices of weights: the size of what belongs to each filter, head or neuron of a tensor.

Li et al., "Pruning Filters for Efficient ConvNets" (ICLR 2017), rank filters by the L1 norm of their weights; low goes
first. A filter is usually read off several tensors (its own weights, its bias, its inputs of the next layer): sum the
parts with :func:`combine`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from graphprune.importance.vip import Matrix

Order = Literal[1, 2]

_BLOCK = 1 << 20  # float64 values held at once: 8 MiB


def slice_norms(array: NDArray[Any], axis: int, order: Order) -> Matrix:
    """For every index of ``axis``, ``sum |w|`` (order 1) or ``sum w^2`` (order 2) over the other axes.

    The root of order 2 is left to :func:`combine`, since squares of several tensors add up and roots do not.

    Parameters
    ----------
    array
        Weights of any real type, float16, bfloat16 and integers included; not changed. Summed in float64 block by
        block: the whole is never copied.
    axis
        The axis of the filters, from the end if negative.
    order
        1 or 2.

    Returns
    -------
    (size of ``axis``,) float64, in the unit of the weights or its square; NaN where a weight is.

    Raises
    ------
    IndexError
        There is no such axis.
    """
    axis = range(array.ndim)[axis]
    others = tuple(other for other in range(array.ndim) if other != axis)
    sums = np.zeros(array.shape[axis])
    for start, block in _blocks(array, axis):
        values = block.astype(np.float64)
        (np.abs if order == 1 else np.square)(values, out=values)
        sums[start : start + block.shape[axis]] += values.sum(others)
    return sums


def combine(parts: Iterable[Matrix], order: Order) -> Matrix:
    """L1 or L2 norm (size,) of every slice over all the tensors whose :func:`slice_norms` are given."""
    total = np.sum(list(parts), axis=0)
    return np.asarray(total if order == 1 else np.sqrt(total))


def _blocks(array: NDArray[Any], axis: int, start: int = 0) -> Iterator[tuple[int, NDArray[Any]]]:
    """Views of at most ``_BLOCK`` values that make up the array, and where on ``axis`` each begins."""
    if array.size <= _BLOCK:
        yield start, array
        return
    # The first axis that can be cut keeps the parts of a C-ordered array contiguous.
    cut = next(index for index, size in enumerate(array.shape) if size > 1)
    middle = array.shape[cut] // 2
    head, tail = np.split(array, [middle], axis=cut)
    yield from _blocks(head, axis, start)
    yield from _blocks(tail, axis, start + middle if cut == axis else start)
