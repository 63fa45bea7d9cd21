"""Patches mixed by MLPs, by filters or by pools instead of attention. Weights are random."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.zoo.parts import CLASSES, Residual, entry, head

_PATCHES = 16


class Patches(nn.Module):
    """A strided convolution, its positions as a sequence of tokens."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, width, 8, 8)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.embed(x)
        return y.flatten(2).transpose(1, 2)


class AcrossTokens(nn.Module):
    """Apply a layer over the tokens instead of the channels: transpose before and after."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x.transpose(1, 2))
        return y.transpose(1, 2)


class TokenMean(nn.Module):
    """The mean token."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


def _mlp(width: int, inner: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width))


def mlp_mixer() -> nn.Module:
    """Two residual blocks per layer: one MLP over the tokens, between transposes, and one over the channels."""
    width, blocks = 20, list[nn.Module]()
    for _ in range(2):
        blocks.append(Residual(nn.Sequential(nn.LayerNorm(width), AcrossTokens(_mlp(_PATCHES, 24)))))
        blocks.append(Residual(nn.Sequential(nn.LayerNorm(width), _mlp(width, 40))))
    return nn.Sequential(Patches(width), *blocks, nn.LayerNorm(width), TokenMean(), nn.Linear(width, CLASSES))


class Affine(nn.Module):
    """A scale and a shift for each channel: ResMLP's stand-in for a norm."""

    def __init__(self, width: int, start: float = 1.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((width,), start))
        self.shift = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.shift, self.scale, x)


def res_mlp() -> nn.Module:
    """No norm at all: affine maps before and after each branch, a single linear layer over the tokens."""
    width, blocks = 20, list[nn.Module]()
    for _ in range(2):
        tokens = AcrossTokens(nn.Linear(_PATCHES, _PATCHES))
        blocks.append(Residual(nn.Sequential(Affine(width), tokens, Affine(width, 0.5))))
        blocks.append(Residual(nn.Sequential(Affine(width), _mlp(width, 40), Affine(width, 0.5))))
    return nn.Sequential(Patches(width), *blocks, Affine(width), TokenMean(), nn.Linear(width, CLASSES))


class SpatialGate(nn.Module):
    """Half of the channels, mixed over the tokens, gates the other half."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width // 2)
        self.mix = nn.Conv1d(_PATCHES, _PATCHES, 1)

    def forward(self, x: Tensor) -> Tensor:
        kept, gate = x.chunk(2, -1)
        gated: Tensor = kept * (1 + self.mix(self.norm(gate)))
        return gated


def gmlp() -> nn.Module:
    """One residual block per layer, with a split and a product over the tokens inside."""
    width, inner = 20, 48

    def block() -> nn.Module:
        first = [nn.LayerNorm(width), nn.Linear(width, inner), nn.GELU(), SpatialGate(inner)]
        return Residual(nn.Sequential(*first, nn.Linear(inner // 2, width)))

    blocks = [block() for _ in range(3)]
    return nn.Sequential(Patches(width), *blocks, nn.LayerNorm(width), TokenMean(), nn.Linear(width, CLASSES))


def conv_mixer() -> nn.Module:
    """Residual around the depthwise convolution only; the pointwise one stays. BatchNorm follows GELU,
    out of its reach.
    """
    width = 20
    layers: list[nn.Module] = [nn.Conv2d(3, width, 4, 4), nn.GELU(), nn.BatchNorm2d(width)]
    for _ in range(3):
        depthwise = nn.Conv2d(width, width, 5, padding="same", groups=width)
        layers.append(Residual(nn.Sequential(depthwise, nn.GELU(), nn.BatchNorm2d(width))))
        layers += [nn.Conv2d(width, width, 1), nn.GELU(), nn.BatchNorm2d(width)]
    return nn.Sequential(*layers, *head(width))


class PoolMixer(nn.Module):
    """The difference between the mean of the neighbourhood and the position itself; no weights but a layer scale."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, width)
        self.scale = nn.Parameter(torch.full((width, 1, 1), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        return self.scale * (functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False) - x)


class ChannelMlp(nn.Module):
    """1x1 convolutions behind a norm over all channels and positions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        layers = [nn.GroupNorm(1, width), nn.Conv2d(width, 2 * width, 1), nn.GELU(), nn.Conv2d(2 * width, width, 1)]
        self.layers = nn.Sequential(*layers)
        self.scale = nn.Parameter(torch.full((width, 1, 1), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return self.scale * y


def pool_former() -> nn.Module:
    """A pool where others have attention: every second residual block has no layer with weights."""
    first = [Residual(layer) for layer in (PoolMixer(12), ChannelMlp(12), PoolMixer(12), ChannelMlp(12))]
    second = [Residual(layer) for layer in (PoolMixer(20), ChannelMlp(20))]
    return nn.Sequential(nn.Conv2d(3, 12, 7, 4, 2), *first, nn.Conv2d(12, 20, 3, 2, 1), *second, *head(20))


ENTRIES = (
    entry(mlp_mixer, 4),
    entry(res_mlp, 4),
    entry(gmlp, 3),
    entry(conv_mixer, 3),
    entry(pool_former, 6),
)
