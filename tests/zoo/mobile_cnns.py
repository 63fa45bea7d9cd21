"""Networks for small devices: depthwise convolutions, shuffled groups, cheap features. Weights are random."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.zoo.parts import CLASSES, Branches, Residual, SqueezeExcite, conv_bn, conv_relu, entry, head


def mobilenet_v1() -> nn.Module:
    """Depthwise and pointwise convolutions by turns, nothing else."""
    layers: list[nn.Module] = [conv_relu(3, 8, 3, 2)]
    for before, width, stride in ((8, 16, 1), (16, 24, 2), (24, 24, 1), (24, 32, 2), (32, 32, 1)):
        layers += [*conv_bn(before, before, 3, stride, before), nn.ReLU(), conv_relu(before, width, 1)]
    return nn.Sequential(*layers, *head(32))


def _inverted(
    before: int,
    width: int,
    stride: int,
    expand: int,
    *,
    kernel: int = 3,
    activation: type[nn.Module] = nn.SiLU,
    excite: nn.Module | None = None,
) -> nn.Module:
    """Expand, filter each channel, gate, project linearly; residual where the shape allows it."""
    inner = before * expand
    layers: list[nn.Module] = [*conv_bn(before, inner, 1), activation()] if expand > 1 else []
    layers += [*conv_bn(inner, inner, kernel, stride, inner), activation()]
    if excite is not None:
        layers.append(excite)
    branch = nn.Sequential(*layers, *conv_bn(inner, width, 1))
    return Residual(branch) if stride == 1 and before == width else branch


def mobilenet_v3() -> nn.Module:
    """Hard swish and hard sigmoid, gates in some blocks, 5x5 kernels, and a classifier of two layers."""

    def gate(channels: int) -> nn.Module:
        return SqueezeExcite(channels, gate=nn.Hardsigmoid)

    return nn.Sequential(
        *conv_bn(3, 8, 3, 2),
        nn.Hardswish(),
        _inverted(8, 8, 1, 1, activation=nn.ReLU, excite=gate(8)),
        _inverted(8, 12, 2, 4, activation=nn.ReLU),
        _inverted(12, 12, 1, 3, activation=nn.ReLU),
        _inverted(12, 16, 2, 4, kernel=5, activation=nn.Hardswish, excite=gate(48)),
        _inverted(16, 16, 1, 3, kernel=5, activation=nn.Hardswish, excite=gate(48)),
        *conv_bn(16, 40, 1),
        nn.Hardswish(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(40, 32),
        nn.Hardswish(),
        nn.Dropout(),
        nn.Linear(32, CLASSES),
    )


def mnasnet() -> nn.Module:
    """ReLU, a separable stem, kernels and expansions mixed by search."""
    return nn.Sequential(
        conv_relu(3, 8, 3, 2),
        _inverted(8, 8, 1, 1, activation=nn.ReLU),
        _inverted(8, 12, 2, 3, activation=nn.ReLU),
        _inverted(12, 12, 1, 3, activation=nn.ReLU),
        _inverted(12, 16, 2, 3, kernel=5, activation=nn.ReLU),
        _inverted(16, 16, 1, 6, kernel=5, activation=nn.ReLU),
        conv_relu(16, 40, 1),
        *head(40),
    )


def efficientnet() -> nn.Module:
    """SiLU everywhere, a gate in every block, computed from the expanded features."""
    return nn.Sequential(
        *conv_bn(3, 8, 3, 2),
        nn.SiLU(),
        _inverted(8, 8, 1, 1, excite=SqueezeExcite(8, nn.SiLU)),
        _inverted(8, 12, 2, 6, excite=SqueezeExcite(48, nn.SiLU)),
        _inverted(12, 12, 1, 6, excite=SqueezeExcite(72, nn.SiLU)),
        _inverted(12, 16, 2, 6, kernel=5, excite=SqueezeExcite(72, nn.SiLU)),
        _inverted(16, 16, 1, 6, kernel=5, excite=SqueezeExcite(96, nn.SiLU)),
        *conv_bn(16, 48, 1),
        nn.SiLU(),
        *head(48),
    )


def _fused(before: int, width: int, stride: int, expand: int) -> nn.Module:
    """Fused MBConv: one dense convolution expands and filters; without expansion it is the whole branch."""
    inner = before * expand
    layers = [*conv_bn(before, inner, 3, stride), nn.SiLU()]
    if expand > 1:
        layers += conv_bn(inner, width, 1)
    branch = nn.Sequential(*layers)
    return Residual(branch) if stride == 1 and before == width else branch


def efficientnet_v2() -> nn.Module:
    """Fused blocks first, gated depthwise ones later."""
    return nn.Sequential(
        *conv_bn(3, 8, 3, 2),
        nn.SiLU(),
        _fused(8, 8, 1, 1),
        _fused(8, 12, 2, 4),
        _fused(12, 12, 1, 4),
        _inverted(12, 16, 2, 4, excite=SqueezeExcite(48, nn.SiLU)),
        _inverted(16, 16, 1, 4, excite=SqueezeExcite(64, nn.SiLU)),
        *conv_bn(16, 40, 1),
        nn.SiLU(),
        *head(40),
    )


class Shuffle(nn.Module):
    """Interleave the channels of the groups: reshape, transpose, reshape."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        x = x.view(batch, self.groups, channels // self.groups, height, width)
        return x.transpose(1, 2).reshape(batch, channels, height, width)


def _shuffle_v1(before: int, width: int, stride: int, groups: int = 3) -> nn.Module:
    """A bottleneck of grouped 1x1 convolutions; with a stride, the pooled input is appended instead of added."""
    inner, made = width // 4, width if stride == 1 else width - before
    branch = nn.Sequential(
        *conv_bn(before, inner, 1, groups=groups),
        nn.ReLU(),
        Shuffle(groups),
        *conv_bn(inner, inner, 3, stride, inner),
        *conv_bn(inner, made, 1, groups=groups),
    )
    if stride == 1:
        return Residual(branch, activation=nn.ReLU())
    return nn.Sequential(Branches(nn.AvgPool2d(3, 2, 1), branch), nn.ReLU())


def shufflenet_v1() -> nn.Module:
    """Grouped convolutions with shuffled channels in residual branches."""
    units = [_shuffle_v1(12, 48, 2), _shuffle_v1(48, 48, 1), _shuffle_v1(48, 48, 1)]
    return nn.Sequential(conv_relu(3, 12, 3, 2), *units, _shuffle_v1(48, 96, 2), _shuffle_v1(96, 96, 1), *head(96))


class ShuffleUnit(nn.Module):
    """ShuffleNetV2: half of the channels pass untouched and are shuffled with the other half."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.branch = nn.Sequential(
            conv_relu(half, half, 1), *conv_bn(half, half, groups=half), conv_relu(half, half, 1)
        )
        self.shuffle = Shuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        kept, changed = x.chunk(2, 1)
        y: Tensor = self.shuffle(torch.cat((kept, self.branch(changed)), 1))
        return y


def _shuffle_v2_down(before: int, width: int) -> nn.Module:
    half = width // 2
    left = nn.Sequential(*conv_bn(before, before, 3, 2, before), conv_relu(before, half, 1))
    filtered = conv_bn(half, half, 3, 2, half)
    right = nn.Sequential(conv_relu(before, half, 1), *filtered, conv_relu(half, half, 1))
    return nn.Sequential(Branches(left, right), Shuffle(2))


def shufflenet_v2() -> nn.Module:
    """Split, concat and shuffle: identity channels without any add."""
    return nn.Sequential(
        conv_relu(3, 12, 3, 2),
        _shuffle_v2_down(12, 24),
        ShuffleUnit(24),
        ShuffleUnit(24),
        _shuffle_v2_down(24, 48),
        ShuffleUnit(48),
        conv_relu(48, 64, 1),
        *head(64),
    )


class Ghost(nn.Module):
    """Half of the features by a 1x1 convolution, the rest by cheap filters on these; the surplus is cut off."""

    def __init__(self, channels_in: int, channels_out: int, *, active: bool) -> None:
        super().__init__()
        primary = (channels_out + 1) // 2
        self.primary = nn.Sequential(*conv_bn(channels_in, primary, 1), nn.ReLU() if active else nn.Identity())
        self.cheap = nn.Sequential(*conv_bn(primary, primary, groups=primary), nn.ReLU() if active else nn.Identity())
        self.channels = channels_out

    def forward(self, x: Tensor) -> Tensor:
        primary = self.primary(x)
        return torch.cat((primary, self.cheap(primary)), 1)[:, : self.channels]


def _ghost(before: int, inner: int, width: int, stride: int, *, excite: bool = False) -> nn.Module:
    layers: list[nn.Module] = [Ghost(before, inner, active=True)]
    if stride > 1:
        layers += conv_bn(inner, inner, 3, stride, inner)
    if excite:
        layers.append(SqueezeExcite(inner, gate=nn.Hardsigmoid))
    branch = nn.Sequential(*layers, Ghost(inner, width, active=False))
    if stride == 1 and before == width:
        return Residual(branch)
    return Residual(branch, nn.Sequential(*conv_bn(before, before, 3, stride, before), *conv_bn(before, width, 1)))


def ghostnet() -> nn.Module:
    """Concats of primary and cheap features, cut to an odd width, inside residual branches."""
    return nn.Sequential(
        conv_relu(3, 8, 3, 2),
        _ghost(8, 13, 8, 1),
        _ghost(8, 25, 15, 2),
        _ghost(15, 29, 15, 1, excite=True),
        _ghost(15, 31, 20, 2, excite=True),
        _ghost(20, 41, 20, 1),
        conv_relu(20, 40, 1),
        *head(40),
    )


def _separable(channels_in: int, channels_out: int) -> list[nn.Module]:
    """ReLU first, then a depthwise and a pointwise convolution with nothing in between."""
    depthwise = nn.Conv2d(channels_in, channels_in, 3, padding=1, groups=channels_in, bias=False)
    return [nn.ReLU(), depthwise, *conv_bn(channels_in, channels_out, 1)]


def _xception_down(before: int, width: int) -> nn.Module:
    branch = nn.Sequential(*_separable(before, width), *_separable(width, width), nn.MaxPool2d(3, 2, 1))
    return Residual(branch, nn.Sequential(*conv_bn(before, width, 1, 2)))


def xception() -> nn.Module:
    """Three separable convolutions per block; the activation comes first, so nothing follows a join."""
    middle = [Residual(nn.Sequential(*(layer for _ in range(3) for layer in _separable(32, 32)))) for _ in range(3)]
    last = [nn.Sequential(*_separable(32, 48)), nn.ReLU()]
    return nn.Sequential(
        conv_relu(3, 8, 3, 2), _xception_down(8, 16), _xception_down(16, 32), *middle, *last, *head(48)
    )


ENTRIES = (
    entry(mobilenet_v1, 0),
    entry(mobilenet_v3, 3),
    entry(mnasnet, 3),
    entry(efficientnet, 3),
    entry(efficientnet_v2, 3),
    entry(shufflenet_v1, 3),
    entry(shufflenet_v2, 0, fast=True),
    entry(ghostnet, 3),
    entry(xception, 3),
)
