"""Descendants of the residual network: other branches, other norms, attention inside the block. Weights are random."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tests.zoo.cnns import PreActBlock
from tests.zoo.parts import ChannelNorm, Residual, SqueezeExcite, conv_bn, conv_relu, entry, head


def _projection(channels_in: int, channels_out: int, stride: int) -> nn.Module | None:
    if stride == 1 and channels_in == channels_out:
        return None
    return nn.Sequential(*conv_bn(channels_in, channels_out, 1, stride))


def _stages(
    block: Callable[[int, int, int], nn.Module], stages: tuple[tuple[int, int], ...], channels: int
) -> list[nn.Module]:
    """``block(channels_in, channels_out, stride)`` for each (width, depth);
    every stage but the first halves the image.
    """
    layers: list[nn.Module] = []
    for stage, (width, depth) in enumerate(stages):
        for index in range(depth):
            layers.append(block(channels, width, 2 if stage and not index else 1))
            channels = width
    return layers


def wide_resnet() -> nn.Module:
    """Pre-activation blocks whose first stage already widens, so that even it begins with a projection."""
    blocks = _stages(PreActBlock, ((24, 2), (48, 3)), 8)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), *blocks, nn.BatchNorm2d(48), nn.ReLU(), *head(48))


def _grouped(channels_in: int, channels_out: int, stride: int, inner: int, groups: int, *, excite: bool) -> nn.Module:
    """A bottleneck around a grouped convolution, as in ResNeXt and RegNet."""
    layers = [conv_relu(channels_in, inner, 1), *conv_bn(inner, inner, 3, stride, groups), nn.ReLU()]
    if excite:
        layers.append(SqueezeExcite(inner))
    branch = nn.Sequential(*layers, *conv_bn(inner, channels_out, 1))
    return Residual(branch, _projection(channels_in, channels_out, stride), nn.ReLU())


def resnext() -> nn.Module:
    """Cardinality 4: the groups grow with the width; the bottleneck is half as wide as the block."""
    blocks = _stages(
        lambda before, width, stride: _grouped(before, width, stride, width // 2, 4, excite=False),
        ((16, 2), (32, 3)),
        8,
    )
    return nn.Sequential(conv_relu(3, 8), *blocks, *head(32))


def _regnet(*, excite: bool) -> nn.Module:
    """Groups of eight channels whatever the width, no narrowing, each stage begins with a stride."""
    blocks = _stages(
        lambda before, width, stride: _grouped(before, width, stride, width, width // 8, excite=excite),
        ((16, 1), (24, 2), (40, 3)),
        8,
    )
    return nn.Sequential(conv_relu(3, 8, stride=2), *blocks, *head(40))


def regnet_x() -> nn.Module:
    """Widths that are no powers of two, and a group count that differs by stage."""
    return _regnet(excite=False)


def regnet_y() -> nn.Module:
    """RegNetX with squeeze-excite in the middle of the branch, between grouped and last convolution."""
    return _regnet(excite=True)


class Scales(nn.Module):
    """Res2Net's convolution: each split sees its own channels plus what the split before has made."""

    def __init__(self, channels: int, scales: int = 4) -> None:
        super().__init__()
        self.width = channels // scales
        self.convs = nn.ModuleList(conv_relu(self.width, self.width) for _ in range(scales - 1))

    def forward(self, x: Tensor) -> Tensor:
        first, *rest = torch.split(x, self.width, 1)
        outputs = [first]
        for index, (conv, part) in enumerate(zip(self.convs, rest, strict=True)):
            outputs.append(conv(part + outputs[-1] if index else part))
        return torch.cat(outputs, 1)


def _res2net_block(channels_in: int, channels_out: int, stride: int) -> nn.Module:
    branch = nn.Sequential(
        conv_relu(channels_in, 16, 1), Scales(16), nn.AvgPool2d(stride, stride), *conv_bn(16, channels_out, 1)
    )
    return Residual(branch, _projection(channels_in, channels_out, stride), nn.ReLU())


def res2net() -> nn.Module:
    """Splits, hierarchical adds and a concat inside each residual branch; those adds are no blocks."""
    return nn.Sequential(conv_relu(3, 8), *_stages(_res2net_block, ((24, 3), (32, 2)), 8), *head(32))


class RepVggBlock(nn.Module):
    """The training form: a 3x3 and a 1x1 convolution and a normalised identity, summed."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.dense = nn.Sequential(*conv_bn(channels_in, channels_out, 3, stride))
        self.pointwise = nn.Sequential(*conv_bn(channels_in, channels_out, 1, stride))
        self.identity = nn.BatchNorm2d(channels_in) if stride == 1 and channels_in == channels_out else None

    def forward(self, x: Tensor) -> Tensor:
        total = self.dense(x) + self.pointwise(x)
        return torch.relu(total if self.identity is None else total + self.identity(x))


def rep_vgg() -> nn.Module:
    """The shortcut has a BatchNorm of its own, so no block is a detour around an unchanged input."""
    return nn.Sequential(*_stages(RepVggBlock, ((12, 2), (24, 3)), 3), *head(24))


def _norm_block(norm: Callable[[int], nn.Module]) -> Callable[[int, int, int], nn.Module]:
    def block(channels_in: int, channels_out: int, stride: int) -> nn.Module:
        first = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        second = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        branch = nn.Sequential(first, norm(channels_out), nn.ReLU(), second, norm(channels_out))
        projection = nn.Sequential(nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), norm(channels_out))
        changes = stride != 1 or channels_in != channels_out
        return Residual(branch, projection if changes else None, nn.ReLU())

    return block


def _norm_resnet(norm: Callable[[int], nn.Module]) -> nn.Module:
    stem = [nn.Conv2d(3, 16, 3, 2, 1, bias=False), norm(16), nn.ReLU()]
    return nn.Sequential(*stem, *_stages(_norm_block(norm), ((16, 2), (32, 2)), 16), *head(32))


def resnet_group_norm() -> nn.Module:
    """GroupNorm ties the channels of a group; exporters write it with reshapes."""
    return _norm_resnet(lambda channels: nn.GroupNorm(4, channels))


def resnet_channel_norm() -> nn.Module:
    """LayerNorm over channels between two transposes, at the end of each branch."""
    return _norm_resnet(ChannelNorm)


def _face_block(channels_in: int, channels_out: int, stride: int) -> nn.Module:
    first = [nn.BatchNorm2d(channels_in), *conv_bn(channels_in, channels_out), nn.PReLU(channels_out)]
    branch = nn.Sequential(*first, *conv_bn(channels_out, channels_out, 3, stride))
    return Residual(branch, _projection(channels_in, channels_out, stride))


def face_resnet() -> nn.Module:
    """ArcFace's IResNet: BatchNorm first, a PReLU slope for each channel, no activation behind the join."""
    stem = [*conv_bn(3, 8), nn.PReLU(8)]
    last = [nn.BatchNorm2d(24), nn.Flatten(), nn.Linear(24 * 4 * 4, 16), nn.BatchNorm1d(16)]
    return nn.Sequential(*stem, *_stages(_face_block, ((8, 2), (16, 2), (24, 2)), 8), nn.MaxPool2d(2), *last)


class SelectiveKernel(nn.Module):
    """Two receptive fields, mixed for each channel by a softmax over the two."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.small = nn.Sequential(*conv_bn(channels, channels, groups=4), nn.ReLU())
        self.large = nn.Sequential(*conv_bn(channels, channels, groups=4, dilation=2), nn.ReLU())
        self.squeeze = conv_relu(channels, 8, 1)
        self.select = nn.Conv2d(8, 2 * channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        small, large = self.small(x), self.large(x)
        squeezed = self.squeeze((small + large).mean((2, 3), keepdim=True))
        weights = torch.softmax(self.select(squeezed).unflatten(1, (2, -1)), 1)
        mixed: Tensor = small * weights[:, 0] + large * weights[:, 1]
        return mixed


def _sk_block(channels_in: int, channels_out: int, stride: int) -> nn.Module:
    branch = nn.Sequential(
        conv_relu(channels_in, 16, 1), SelectiveKernel(16), nn.AvgPool2d(stride, stride), *conv_bn(16, channels_out, 1)
    )
    return Residual(branch, _projection(channels_in, channels_out, stride), nn.ReLU())


def sknet() -> nn.Module:
    """Each branch holds two more joins of parallel layers, one weighted by attention; neither is a block."""
    return nn.Sequential(conv_relu(3, 8, stride=2), *_stages(_sk_block, ((24, 2), (32, 2)), 8), *head(32))


class Cbam(nn.Module):
    """Channel attention by one MLP applied to mean and maximum, then attention over positions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Conv2d(channels, channels // 4, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(channels // 4, channels, 1, bias=False),
        )
        self.positions = nn.Sequential(nn.Conv2d(2, 1, 7, padding=3, bias=False), nn.BatchNorm2d(1))

    def forward(self, x: Tensor) -> Tensor:
        mean, most = self.mlp(x.mean((2, 3), keepdim=True)), self.mlp(x.amax((2, 3), keepdim=True))
        x = x * torch.sigmoid(mean + most)
        maps = torch.cat((x.mean(1, keepdim=True), x.amax(1, keepdim=True)), 1)
        return x * torch.sigmoid(self.positions(maps))


def _cbam_block(channels_in: int, channels_out: int, stride: int) -> nn.Module:
    layers = [conv_relu(channels_in, channels_out, 3, stride), *conv_bn(channels_out, channels_out), Cbam(channels_out)]
    return Residual(nn.Sequential(*layers), _projection(channels_in, channels_out, stride), nn.ReLU())


def cbam() -> nn.Module:
    """Attention at the end of the branch; one MLP is shared by two poolings that are added."""
    return nn.Sequential(conv_relu(3, 8, stride=2), *_stages(_cbam_block, ((16, 3), (32, 2)), 8), *head(32))


class NonLocal(nn.Module):
    """Attention of every position to every other, as a residual branch of a convolutional network."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Conv2d(channels, channels // 2, 1) for _ in range(3))
        self.leave = nn.Sequential(*conv_bn(channels // 2, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (layer(x).flatten(2) for layer in (self.query, self.key, self.value))
        weights = torch.softmax(query.transpose(1, 2) @ key, -1)
        mixed = (value @ weights.transpose(1, 2)).unflatten(2, x.shape[2:])
        y: Tensor = self.leave(mixed)
        return y


def non_local() -> nn.Module:
    """Residual attention between residual convolutions: products of two activations over flattened positions."""
    stages = [Residual(NonLocal(16)), *_stages(_norm_block(nn.BatchNorm2d), ((16, 1), (24, 2)), 16)]
    return nn.Sequential(conv_relu(3, 16, stride=4), *stages, Residual(NonLocal(24)), *head(24))


ENTRIES = (
    entry(wide_resnet, 3),
    entry(resnext, 3),
    entry(regnet_x, 3),
    entry(regnet_y, 3),
    entry(res2net, 3, fast=True),
    entry(rep_vgg, 0),
    entry(resnet_group_norm, 3),
    entry(resnet_channel_norm, 3),
    entry(face_resnet, 4),
    entry(sknet, 2),
    entry(cbam, 3),
    entry(non_local, 4),
)
