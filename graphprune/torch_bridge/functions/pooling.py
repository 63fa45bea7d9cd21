"""Pooling that torch's layers do not know."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

_AVERAGE = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}


def counted_mean(x: Tensor, ones: Tensor, kernel: Sequence[int], strides: Sequence[int]) -> Tensor:
    """The mean of what lies in each window of a padded ``x``; ``ones`` is 1 where it is no padding."""
    average = _AVERAGE[len(kernel)]
    found: Tensor = average(x, tuple(kernel), tuple(strides)) / average(ones, tuple(kernel), tuple(strides))
    return found


def norm_pool(x: Tensor, kernel: Sequence[int], strides: Sequence[int], order: int) -> Tensor:
    """The norm of each window."""
    count = 1
    for size in kernel:
        count *= size
    means: Tensor = _AVERAGE[len(kernel)](torch.abs(x) ** order, tuple(kernel), tuple(strides))
    return (means * count) ** (1 / order)
