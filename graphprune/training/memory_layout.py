"""How images lie in memory while networks are trained: channels last, which convolutions like best."""

from __future__ import annotations

import torch
from torch import nn

_NARROW = 8  # input channels: one vector of AVX2


def layout_of(module: nn.Module, device: torch.device) -> torch.memory_format:
    """Channels last, but where that would write past the end of a tensor.

    oneDNN 3 does so on processors without AVX-512 in the backward pass of strided 1x1 convolutions of fewer than eight
    channels, which pruned shortcuts have: the process dies, now or later.
    """
    if device.type == "cpu" and any(_is_narrow_stride(each) for each in module.modules()):
        return torch.contiguous_format
    return torch.channels_last


def _is_narrow_stride(layer: nn.Module) -> bool:
    if not isinstance(layer, nn.Conv2d):
        return False
    return set(layer.kernel_size) == {1} and max(layer.stride) > 1 and layer.in_channels < _NARROW
