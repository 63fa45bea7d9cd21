"""Chains of layers without shortcuts, and the odd operators that such chains were built from. Weights are random."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.zoo.parts import CLASSES, Residual, conv_bn, conv_relu, entry, head


def _vgg_features(*, norm: bool) -> list[nn.Module]:
    layers: list[nn.Module] = []
    channels = 3
    for width, depth in ((8, 1), (16, 2), (32, 2)):
        for _ in range(depth):
            layers += conv_bn(channels, width) if norm else [nn.Conv2d(channels, width, 3, padding=1)]
            layers.append(nn.ReLU())
            channels = width
        layers.append(nn.MaxPool2d(2))
    return layers


def _mlp_head(features: int, width: int = 40) -> list[nn.Module]:
    first = [nn.Flatten(), nn.Linear(features, width), nn.ReLU(), nn.Dropout()]
    return [*first, nn.Linear(width, width), nn.ReLU(), nn.Dropout(), nn.Linear(width, CLASSES)]


def vgg() -> nn.Module:
    """Adaptive pooling leaves 2x2 positions, so the flattening interleaves channels and positions."""
    return nn.Sequential(*_vgg_features(norm=True), nn.AdaptiveAvgPool2d((2, 2)), *_mlp_head(32 * 2 * 2))


def vgg_without_norm() -> nn.Module:
    """Biases instead of BatchNorm; flattened at 4x4 positions without any pooling before."""
    return nn.Sequential(*_vgg_features(norm=False), *_mlp_head(32 * 4 * 4))


def alexnet() -> nn.Module:
    """Grouped convolutions of two towers, local response norm, overlapping pools."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 7, 2, 2),
        nn.ReLU(),
        nn.LocalResponseNorm(5, alpha=0.1, k=2.0),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(16, 24, 5, padding=2, groups=2),
        nn.ReLU(),
        nn.LocalResponseNorm(5, alpha=0.1, k=2.0),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(24, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 24, 3, padding=1, groups=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        *_mlp_head(24 * 2 * 2),
    )


def depth_multiplier() -> nn.Module:
    """Depthwise convolutions with several filters for each input channel: groups fewer than filters."""
    return nn.Sequential(
        *conv_bn(3, 12, groups=3),
        nn.ReLU(),
        *conv_bn(12, 16, 1),
        nn.ReLU(),
        *conv_bn(16, 32, stride=2, groups=16),
        nn.ReLU(),
        *conv_bn(32, 16, 1),
        nn.ReLU(),
        *conv_bn(16, 48, stride=2, groups=16),
        nn.ReLU(),
        *head(48),
    )


class Maxout(nn.Module):
    """The largest of ``pieces`` linear maps for each channel; no other activation."""

    def __init__(self, channels_in: int, channels_out: int, pieces: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out * pieces, 3, padding=1)
        self.pieces = pieces

    def forward(self, x: Tensor) -> Tensor:
        pieces: Tensor = self.conv(x).unflatten(1, (-1, self.pieces))
        return pieces.amax(2)


def maxout() -> nn.Module:
    """The maximum over pieces of the channels ties every group of filters together."""
    pool = nn.MaxPool2d(2)
    return nn.Sequential(Maxout(3, 8), pool, Maxout(8, 16), pool, Maxout(16, 16, 2), *head(16))


class CReLU(nn.Module):
    """``relu(x)`` beside ``relu(-x)``: every filter is read twice."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(torch.cat((x, -x), 1))


def crelu() -> nn.Module:
    """Concatenated ReLU, then a learned scale and shift for each half (the All-CNN of the CReLU paper)."""
    return nn.Sequential(
        *conv_bn(3, 8),
        CReLU(),
        *conv_bn(16, 16, stride=2),
        CReLU(),
        *conv_bn(32, 16, stride=2),
        CReLU(),
        nn.Conv2d(32, CLASSES, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


class Highway(nn.Module):
    """A learned mix of a layer and its input, in one of three ways of writing it."""

    def __init__(self, channels: int, mix: str) -> None:
        super().__init__()
        self.layer = conv_relu(channels, channels)
        self.gate = nn.Conv2d(channels, channels, 3, padding=1)
        self.mix = mix

    def forward(self, x: Tensor) -> Tensor:
        layer: Tensor = self.layer(x)
        gate = torch.sigmoid(self.gate(x))
        if self.mix == "choose":
            return torch.where(gate > 0.5, layer, x)
        if self.mix == "step":
            return x + gate * (layer - x)
        return gate * layer + (1 - gate) * x


def highway() -> nn.Module:
    """Gates mix layer and input; only the one written as a step from the input is a residual block."""
    layers = [Highway(12, "sum"), Highway(12, "choose"), Highway(12, "step"), Highway(12, "sum")]
    return nn.Sequential(*conv_bn(3, 12, stride=2), nn.ReLU(), *layers, *head(12))


class Siamese(nn.Module):
    """One tower applied to two inputs, which are then compared."""

    def __init__(self) -> None:
        super().__init__()
        blocks = [Residual(nn.Sequential(conv_relu(12, 12), *conv_bn(12, 12)), activation=nn.ReLU()) for _ in range(2)]
        self.tower = nn.Sequential(*conv_bn(3, 12, stride=2), nn.ReLU(), *blocks, nn.AvgPool2d(4), nn.Flatten())
        self.embed = nn.Linear(12 * 4 * 4, 16)
        self.compare = nn.Linear(32, 1)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        one, two = self.embed(self.tower(first)), self.embed(self.tower(second))
        score: Tensor = self.compare(torch.cat((torch.abs(one - two), one * two), 1))
        return score


def siamese() -> nn.Module:
    """Every weight is read by two layers, one for each input; each copy of a block can go alone."""
    return Siamese()


class Kronecker(nn.Module):
    """A linear map of flattened 8x8 features whose matrix is a Kronecker product of two small ones."""

    def __init__(self, size: int = 8) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.eye(size) / 2)
        self.columns = nn.Parameter(torch.eye(size) / 2)

    def forward(self, x: Tensor) -> Tensor:
        rows = torch.einsum("bcij,ip->bcpj", x, self.rows)
        return torch.relu(torch.einsum("bcpj,jq->bcpq", rows, self.columns))


class ChannelMix(nn.Module):
    """A 1x1 convolution written as an einsum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bchw,cd->bdhw", x, self.weight)


class BilinearPool(nn.Module):
    """Products of every two channels, summed over positions: an einsum of two computed operands."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bchw,bdhw->bcd", x, torch.tanh(x)) / (x.shape[2] * x.shape[3])


def kronecker() -> nn.Module:
    """Layers that are einsums over a parameter, in residual blocks, and bilinear pooling of two activations."""
    blocks = [Residual(nn.Sequential(Kronecker(), ChannelMix(12))) for _ in range(2)]
    stem = [*conv_bn(3, 12, 5, 4), nn.ReLU()]
    return nn.Sequential(*stem, *blocks, BilinearPool(), nn.Flatten(), nn.Linear(12 * 12, CLASSES))


ENTRIES = (
    entry(vgg, 0),
    entry(vgg_without_norm, 0),
    entry(alexnet, 0, image=(3, 48, 48)),
    entry(depth_multiplier, 0),
    entry(maxout, 0),
    entry(crelu, 0),
    entry(highway, 1),
    entry(siamese, 4, first=(3, 32, 32), second=(3, 32, 32)),
    entry(kronecker, 2),
)
