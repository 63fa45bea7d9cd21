"""ONNX's functions on whole tensors where torch's mean something else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def gemm(a: Tensor, b: Tensor, c: Any, alpha: float, beta: float, is_a_turned: bool, is_b_turned: bool) -> Tensor:
    """``alpha A B + beta C`` with ``A (M, K)``, ``B (K, N)`` and ``C`` of any shape that broadcasts."""
    product = (a.t() if is_a_turned else a) @ (b.t() if is_b_turned else b)
    product = product if alpha == 1 else product * alpha
    return product if c is None else torch.add(product, c if beta == 1 else c * beta)


def divide(one: Any, other: Any) -> Tensor:
    """Integers are divided towards zero."""
    tensor = one if isinstance(one, Tensor) else other
    if tensor.is_floating_point() or tensor.is_complex():
        return torch.true_divide(one, other)
    if not isinstance(one, Tensor):
        one = torch.full_like(other, one)
    return torch.div(one, other, rounding_mode="trunc")


def power(base: Any, exponent: Any) -> Tensor:
    """``base ** exponent`` in the type of the base."""
    found = torch.pow(base, exponent)
    return found.to(base.dtype) if isinstance(base, Tensor) and not base.is_floating_point() else found


def extreme(values: Sequence[Any], is_max: bool) -> Tensor:
    """The largest, or smallest, of several tensors or numbers."""
    result = values[0]
    for value in values[1:]:
        if not isinstance(result, Tensor):
            result, value = value, result
        if isinstance(value, Tensor):
            result = torch.maximum(result, value) if is_max else torch.minimum(result, value)
        else:
            result = result.clamp(min=value) if is_max else result.clamp(max=value)
    found: Tensor = result
    return found


def clip(x: Tensor, low: Any, high: Any) -> Tensor:
    """Between ``low`` and ``high``, numbers or tensors; None is no limit."""
    if low is None and high is None:
        return x
    if isinstance(low, Tensor) != isinstance(high, Tensor) and low is not None and high is not None:
        return torch.clamp(torch.clamp(x, min=low), max=high)
    return torch.clamp(x, low, high)


def select(condition: Tensor, one: Any, other: Any, dtype: torch.dtype | None) -> Tensor:
    """Where; of two numbers in the given type.

    A number beyond the range of the other side's type, as masks have it under autocast, becomes that type's last one:
    a row of infinities has no softmax.
    """
    one, other = _in_range(one, other), _in_range(other, one)
    found = torch.where(condition, one, other)
    if isinstance(one, Tensor) or isinstance(other, Tensor) or dtype is None:
        return found
    return found.to(dtype)


def _in_range(number: Any, beside: Any) -> Any:
    if not isinstance(number, float) or not isinstance(beside, Tensor) or not beside.is_floating_point():
        return number
    limit = torch.finfo(beside.dtype).max
    return max(-limit, min(limit, number)) if math.isfinite(number) else number


broadcast_shapes: Any = torch.broadcast_shapes


def expand(x: Tensor, sizes: Sequence[int]) -> Tensor:
    """Broadcast in both directions: a size of one leaves the axis as it is."""
    return x.expand(broadcast_shapes(x.shape, tuple(sizes)))


def reshape(x: Tensor, sizes: Sequence[int]) -> Tensor:
    """A new shape."""
    return x.reshape(tuple(sizes))


def reverse_slice(x: Tensor, axis: int, start: int, end: int, step: int) -> Tensor:
    """A slice with a negative step."""
    first, last, step = slice(start, None if end < -x.shape[axis] else end, step).indices(x.shape[axis])
    return x.index_select(axis, torch.arange(first, last, step, device=x.device))


def flatten(x: Tensor, axis: int) -> Tensor:
    """Two axes: all before ``axis``, all from it on."""
    axis = axis + x.ndim if axis < 0 else axis
    rows = 1
    for size in x.shape[:axis]:
        rows = rows * size
    columns = 1
    for size in x.shape[axis:]:
        columns = columns * size
    return x.reshape(rows, columns)


def softmax_2d(x: Tensor, axis: int, is_log: bool) -> Tensor:
    """Softmax up to opset 12: over everything from ``axis`` on."""
    flat = flatten(x, axis)
    return (torch.log_softmax(flat, 1) if is_log else torch.softmax(flat, 1)).reshape(x.shape)


def hard_sigmoid(x: Tensor, alpha: float, beta: float) -> Tensor:
    """``alpha x + beta`` between zero and one."""
    return torch.clamp(x * alpha + beta, 0, 1)


def shrink(x: Tensor, lambd: float, bias: float) -> Tensor:
    """Towards zero by ``bias``, and zero within ``lambd``."""
    return torch.where(x < -lambd, x + bias, torch.where(x > lambd, x - bias, torch.zeros_like(x)))


def thresholded(x: Tensor, alpha: float) -> Tensor:
    """Zero up to ``alpha``."""
    return torch.where(x > alpha, x, torch.zeros_like(x))


def cast(x: Any, dtype: torch.dtype) -> Tensor:
    """Another type."""
    found: Tensor = x.to(dtype)
    return found


def one_hot(indices: Tensor, depth: int, values: Tensor, axis: int) -> Tensor:
    """``values`` holds what stands off and on."""
    places = torch.arange(depth, device=indices.device)
    hit = (indices % depth).unsqueeze(-1) == places
    found = torch.where(hit, values[1], values[0])
    return found if axis == -1 else found.movedim(-1, axis)


def reduce_product(x: Tensor, axes: Sequence[int], is_kept: bool) -> Tensor:
    """Product over several axes."""
    for axis in sorted((axis % x.ndim for axis in axes), reverse=True):
        x = torch.prod(x, dim=axis, keepdim=is_kept)
    return x


def cumulative_sum(x: Tensor, axis: int, is_exclusive: bool, is_reversed: bool) -> Tensor:
    """Running sum; exclusive leaves each element's own value out."""
    y = x.flip(axis) if is_reversed else x
    total = torch.cumsum(y, axis, dtype=x.dtype)
    total = total - y if is_exclusive else total
    return total.flip(axis) if is_reversed else total


def arg_extreme(x: Tensor, axis: int, is_kept: bool, is_last: bool, is_max: bool) -> Tensor:
    """Where the largest, or smallest, element is; the first of equal ones unless the last is asked for."""
    y = x.flip(axis) if is_last else x
    found = (torch.argmax if is_max else torch.argmin)(y, dim=axis, keepdim=is_kept)
    return x.shape[axis] - 1 - found if is_last else found


def share(size: int, count: int) -> int:
    """The largest of ``count`` shares, all of one size but the last."""
    return -(-size // count)
