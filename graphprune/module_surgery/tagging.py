"""Which element of which parameter stands where in an export: every element is a number of its own,
which survives copying.

Exporters transpose, slice and join parameters, and forget their names.
In a copy of the module whose elements are numbered, a constant of the exported graph says by itself where each of its
elements comes from, whatever was done to arrange them.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from graphprune.torch_bridge.dtypes import to_tensor

_FIRST = 1000
"""Smaller numbers are left to constants of the graph."""


@dataclass(frozen=True)
class Tagged:
    """A numbered copy of a module; ``first`` has the number of each tensor's first element, ``shapes`` its shape."""

    module: nn.Module
    first: dict[str, int]
    shapes: dict[str, tuple[int, ...]]
    is_double: bool

    def owners(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """Flat indices into each tensor whose elements are among ``values``, ascending; nothing for other constants."""
        flat = np.unique(np.asarray(values).reshape(-1))
        if flat.dtype.kind != "f" or not flat.size:
            return {}
        flat = flat[np.isfinite(flat) & (flat >= _FIRST)]
        flat = flat[flat == np.floor(flat)].astype(np.int64)
        found: dict[str, np.ndarray] = {}
        for name, start in self.first.items():
            size = int(np.prod(self.shapes[name], dtype=int))
            inside = flat[np.searchsorted(flat, start) : np.searchsorted(flat, start + size)] - start
            if inside.size:
                found[name] = inside
        return found


def tagged(module: nn.Module) -> Tagged:
    """A numbered copy of ``module``; in double precision where single has too few whole numbers."""
    twin = copy.deepcopy(module)
    tensors = {name: tensor for name, tensor in _state(twin).items() if tensor.is_floating_point()}
    total = _FIRST + sum(tensor.numel() for tensor in tensors.values())
    is_double = total >= 1 << 24
    twin = twin.double() if is_double else twin.float()
    first: dict[str, int] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    number = _FIRST
    with torch.no_grad():
        for name, tensor in _state(twin).items():
            if tensor.is_floating_point():
                first[name], shapes[name] = number, tuple(tensor.shape)
                numbers = np.arange(number, number + tensor.numel(), dtype=np.float64).reshape(tensor.shape)
                tensor.copy_(to_tensor(numbers))
                number += tensor.numel()
    return Tagged(twin, first, shapes, is_double)


def _state(module: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and buffers by name, each tensor once."""
    return dict(module.named_parameters()) | dict(module.named_buffers())
