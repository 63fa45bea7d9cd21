"""Networks that concatenate: growing features, parallel branches, partial stages. Weights are random."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.zoo.parts import CLASSES, Branches, Residual, conv_bn, conv_relu, entry, head


class DenseLayer(nn.Module):
    """Appends a few channels to its input, computed through a bottleneck."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            *conv_bn(channels, 2 * growth, 1),
            nn.ReLU(),
            nn.Conv2d(2 * growth, growth, 3, padding=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((x, self.layers(x)), 1)


def densenet() -> nn.Module:
    """Each channel is read by every later layer of its dense block; transitions halve channels and image."""
    growth, channels = 6, 12
    layers: list[nn.Module] = [*conv_bn(3, channels, 3, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    for depth in (3, 3, 2):
        for _ in range(depth):
            layers.append(DenseLayer(channels, growth))
            channels += growth
        if depth == 3:
            transition = [nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, channels // 2, 1, bias=False)]
            layers += [*transition, nn.AvgPool2d(2, ceil_mode=True)]
            channels //= 2
    return nn.Sequential(*layers, nn.BatchNorm2d(channels), nn.ReLU(), *head(channels))


def _inception(channels_in: int, width: int) -> nn.Module:
    """GoogLeNet's module: four branches of unequal widths, the last one a pool and a convolution."""
    return Branches(
        conv_relu(channels_in, 2 * width, 1),
        nn.Sequential(conv_relu(channels_in, width, 1), conv_relu(width, 3 * width)),
        nn.Sequential(conv_relu(channels_in, width // 2, 1), conv_relu(width // 2, width, 5)),
        nn.Sequential(nn.MaxPool2d(3, 1, 1), conv_relu(channels_in, width, 1)),
    )


def googlenet() -> nn.Module:
    """Four-way concats read by four branches; pools that round sizes up."""
    return nn.Sequential(
        conv_relu(3, 8, 7, 2),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        _inception(8, 4),
        _inception(28, 4),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        _inception(28, 6),
        nn.Dropout(),
        *head(42),
    )


def _conv(channels_in: int, channels_out: int, height: int, width: int) -> nn.Module:
    """A rectangular convolution of unchanged size."""
    conv = nn.Conv2d(channels_in, channels_out, (height, width), padding=(height // 2, width // 2), bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels_out, eps=1e-3), nn.ReLU())


def _factorised(channels: int) -> nn.Module:
    """Inception-v3's 17x17 module: 7x7 convolutions as 1x7 and 7x1, and an average pool with a convolution."""
    return Branches(
        conv_relu(channels, 12, 1),
        nn.Sequential(conv_relu(channels, 8, 1), _conv(8, 8, 1, 7), _conv(8, 12, 7, 1)),
        nn.Sequential(conv_relu(channels, 8, 1), _conv(8, 8, 7, 1), _conv(8, 8, 1, 7), _conv(8, 12, 7, 1)),
        nn.Sequential(nn.AvgPool2d(3, 1, 1), conv_relu(channels, 12, 1)),
    )


def _expanded(channels: int) -> nn.Module:
    """Inception-v3's 8x8 module: branches that end in a concat of their own, inside the concat."""
    return Branches(
        conv_relu(channels, 12, 1),
        nn.Sequential(conv_relu(channels, 12, 1), Branches(_conv(12, 12, 1, 3), _conv(12, 12, 3, 1))),
        nn.Sequential(nn.AvgPool2d(3, 1, 1, count_include_pad=False), conv_relu(channels, 8, 1)),
    )


def inception_v3() -> nn.Module:
    """Rectangular kernels, nested concats, and a reduction whose last branch is a bare pool."""
    reduction = Branches(conv_relu(48, 16, 3, 2), nn.MaxPool2d(3, 2, 1))
    return nn.Sequential(conv_relu(3, 8, 3, 2), conv_relu(8, 16), _factorised(16), reduction, _expanded(64), *head(44))


class InceptionBranch(nn.Module):
    """Inception-ResNet's branch: a concat, brought back to the input's width, times a small constant."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = nn.Sequential(conv_relu(channels, 8, 1), _conv(8, 8, 1, 3), _conv(8, 8, 3, 1))
        self.branches = Branches(conv_relu(channels, 8, 1), narrow)
        self.widen = nn.Conv2d(16, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.widen(self.branches(x))
        return 0.3 * y


def inception_resnet() -> nn.Module:
    """Residual blocks around concats, their branches scaled down; reductions concat a pool."""
    reduction = Branches(conv_relu(16, 16, 3, 2), nn.MaxPool2d(3, 2, 1))
    first = [Residual(InceptionBranch(16), activation=nn.ReLU()) for _ in range(2)]
    second = [Residual(InceptionBranch(32), activation=nn.ReLU()) for _ in range(2)]
    return nn.Sequential(conv_relu(3, 16, 3, 2), *first, reduction, *second, *head(32))


def _fire(channels_in: int, squeeze: int, expand: int) -> nn.Module:
    """A narrow 1x1 convolution, then 1x1 and 3x3 side by side; biases and no norm."""
    expand1 = nn.Sequential(nn.Conv2d(squeeze, expand, 1), nn.ReLU())
    expand3 = nn.Sequential(nn.Conv2d(squeeze, expand, 3, padding=1), nn.ReLU())
    return nn.Sequential(nn.Conv2d(channels_in, squeeze, 1), nn.ReLU(), Branches(expand1, expand3))


def squeezenet() -> nn.Module:
    """Fire modules, every second one bypassed, and a convolution as the classifier."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        _fire(16, 6, 12),
        Residual(_fire(24, 6, 12)),
        _fire(24, 8, 16),
        Residual(_fire(32, 8, 16)),
        nn.Conv2d(32, CLASSES, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


def _conv_silu(channels_in: int, channels_out: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(*conv_bn(channels_in, channels_out, kernel, stride), nn.SiLU())


class Focus(nn.Module):
    """Space to depth by four strided slices, concatenated."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]), 1)


def _partial_stage(channels: int, depth: int) -> nn.Module:
    """C3: residual bottlenecks on one half of the channels, a plain 1x1 convolution for the other, both fused."""
    half = channels // 2
    blocks = [Residual(nn.Sequential(_conv_silu(half, half, 1), _conv_silu(half, half))) for _ in range(depth)]
    deep = nn.Sequential(_conv_silu(channels, half, 1), *blocks)
    return nn.Sequential(Branches(deep, _conv_silu(channels, half, 1)), _conv_silu(channels, channels, 1))


class PyramidPool(nn.Module):
    """SPPF: the same pool three times in a row, every step kept."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = _conv_silu(channels, channels // 2, 1)
        self.pool = nn.MaxPool2d(5, 1, 2)
        self.fuse = _conv_silu(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        maps = [self.reduce(x)]
        for _ in range(3):
            maps.append(self.pool(maps[-1]))
        fused: Tensor = self.fuse(torch.cat(maps, 1))
        return fused


def csp_darknet() -> nn.Module:
    """YOLOv5's backbone: a Focus stem, partial stages, SPPF at the end."""
    first = [Focus(), _conv_silu(12, 12), _conv_silu(12, 24, 3, 2), _partial_stage(24, 2)]
    return nn.Sequential(*first, _conv_silu(24, 32, 3, 2), _partial_stage(32, 3), PyramidPool(32), *head(32))


ENTRIES = (
    entry(densenet, 0, fast=True),
    entry(googlenet, 0),
    entry(inception_v3, 0),
    entry(inception_resnet, 4),
    entry(squeezenet, 2),
    entry(csp_darknet, 5),
)
