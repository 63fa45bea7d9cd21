"""Functions on spatial axes that a converted module calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

sym_max: Any = torch.sym_max  # a Python number or a symbol of a compiler


def same_padding(
    x: Tensor, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], is_lower: bool, value: float
) -> Tensor:
    """``x (N, C, *space)`` padded so that a window with these strides gives ``ceil(size / stride)`` places."""
    pads: list[int] = []
    for axis in range(len(kernel) - 1, -1, -1):
        size = x.shape[axis + 2]
        steps = -(-size // strides[axis]) - 1
        total: Any = sym_max(steps * strides[axis] + (kernel[axis] - 1) * dilations[axis] + 1 - size, 0)
        half = total // 2
        pads += [total - half, half] if is_lower else [half, total - half]
    return functional.pad(x, pads, "constant", value)


def swap_depth(x: Tensor, block: int, is_to_space: bool, is_channels_first: bool) -> Tensor:
    """DepthToSpace of ``x (N, C, H, W)``, or its inverse; the blocks' places come before the channels,
    or after them.
    """
    n, c, h, w = x.shape
    if is_to_space:
        if is_channels_first:
            return functional.pixel_shuffle(x, block)
        x = x.reshape(n, block, block, c // block**2, h, w).permute(0, 3, 4, 1, 5, 2)
        return x.reshape(n, c // block**2, h * block, w * block)
    x = x.reshape(n, c, h // block, block, w // block, block).permute(0, 3, 5, 1, 2, 4)
    return x.reshape(n, c * block**2, h // block, w // block)


def pad_by_index(x: Tensor, before: Sequence[int], after: Sequence[int], mode: str) -> Tensor:
    """Pad each axis with its own elements: mode "reflect", "edge" or "wrap"; any rank."""
    for axis, (begin, end) in enumerate(zip(before, after, strict=True)):
        if not (isinstance(begin, int) and isinstance(end, int)) or begin or end:
            size = x.shape[axis]
            index = torch.arange(-begin, size + end, device=x.device)
            if mode == "edge":
                index = index.clamp(0, size - 1)
            elif mode == "wrap":
                index = index % size
            else:
                index = (size - 1) - ((size - 1) - index.abs()).abs()
            x = x.index_select(axis, index)
    return x
