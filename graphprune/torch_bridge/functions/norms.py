"""Norms whose weights are computed, or lie in a way that torch's layers do not take."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def layer_norm(x: Tensor, scale: Tensor, bias: Tensor | None, count: int, epsilon: float) -> Tensor:
    """Over the last ``count`` axes; scale and bias of any shape that broadcasts."""
    y = functional.layer_norm(x, x.shape[-count:], eps=epsilon) * scale
    return y if bias is None else y + bias


def rms_norm(x: Tensor, scale: Tensor, count: int, epsilon: float) -> Tensor:
    """Over the last ``count`` axes, without a mean."""
    return functional.rms_norm(x, x.shape[-count:], eps=epsilon) * scale


def instance_norm(x: Tensor, scale: Tensor, bias: Tensor, epsilon: float) -> Tensor:
    """``x (N, C, ...)`` of any rank, over all but the first two axes."""
    axes = tuple(range(2, x.ndim))
    variance, mean = torch.var_mean(x, dim=axes, correction=0, keepdim=True)
    spread = (1, -1, *[1] * (x.ndim - 2))
    return (x - mean) * torch.rsqrt(variance + epsilon) * scale.reshape(spread) + bias.reshape(spread)


def group_norm_per_group(x: Tensor, groups: int, scale: Tensor, bias: Tensor, epsilon: float) -> Tensor:
    """``x (N, C, ...)``; ``scale`` and ``bias (groups,)``."""
    width = x.shape[1] // groups
    return functional.group_norm(x, groups, scale.repeat_interleave(width), bias.repeat_interleave(width), epsilon)


def lp_normalise(x: Tensor, order: int, axis: int) -> Tensor:
    """Divided by its norm along ``axis``."""
    return torch.div(x, torch.linalg.vector_norm(x, order, dim=axis, keepdim=True))


def standardise(x: Tensor, axes: Sequence[int]) -> Tensor:
    """Mean zero, variance one over ``axes``; ONNX adds 1e-9 to the deviation."""
    variance, mean = torch.var_mean(x, dim=tuple(axes), correction=0, keepdim=True)
    return (x - mean) / (torch.sqrt(variance) + 1e-9)
