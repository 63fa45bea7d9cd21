"""Functions on numbers that a converted module calls; ONNX's meaning where Python's differs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def tensor_of(values: Sequence[Any], shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """A tensor of sizes; stacked, for a compiler must not have to know them."""
    return torch.stack([torch.full((), value, dtype=dtype, device=device) for value in values]).reshape(tuple(shape))


def number_at(tensor: Tensor, index: int) -> int | float | bool:
    """One element, read back from the device."""
    found: int | float | bool = tensor.reshape(-1)[index].item()
    return found


def divide(one: Any, other: Any) -> Any:
    """Integers are divided towards zero."""
    if isinstance(one, float | torch.SymFloat) or isinstance(other, float | torch.SymFloat):
        return one / other
    return one // other if (one >= 0) == (other > 0) else -(-one // other)


def choose(condition: Any, one: Any, other: Any) -> Any:
    """``one`` where the condition holds."""
    return one if condition else other


def is_true(value: Any) -> bool:
    """A number as a truth value."""
    return bool(value != 0)
