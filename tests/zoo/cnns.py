"""Small convolutional networks by hand, one per way of writing a residual block. Weights are random."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.zoo.entry import IMAGE, Built, Entry
from tests.zoo.parts import CLASSES, ChannelNorm, SqueezeExcite, build, conv_bn, head


class PadShortcut(nn.Module):
    """The shortcut without parameters of the CIFAR ResNets: every second pixel, zeros for the new channels."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.extra = (channels_out - channels_in) // 2

    def forward(self, x: Tensor) -> Tensor:
        return functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.extra, self.extra))


class V1Block(nn.Module):
    """``relu(shortcut(x) + branch(x))``; basic or bottleneck, with squeeze-excite on request."""

    def __init__(
        self, channels_in: int, channels_out: int, stride: int, *, bottleneck: bool, excite: bool, pad_shortcut: bool
    ) -> None:
        super().__init__()
        inner = channels_out // 2 if bottleneck else channels_out
        if bottleneck:
            layers = [*conv_bn(channels_in, inner, 1), nn.ReLU(), *conv_bn(inner, inner, 3, stride), nn.ReLU()]
            layers += conv_bn(inner, channels_out, 1)
        else:
            layers = [*conv_bn(channels_in, inner, 3, stride), nn.ReLU(), *conv_bn(inner, channels_out)]
        if excite:
            layers.append(SqueezeExcite(channels_out))
        self.branch = nn.Sequential(*layers)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            projection = nn.Sequential(*conv_bn(channels_in, channels_out, 1, stride))
            self.shortcut = PadShortcut(channels_in, channels_out) if pad_shortcut else projection

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.shortcut(x) + self.branch(x))


class PreActBlock(nn.Module):
    """``x + conv(relu(bn(conv(relu(bn(x))))))``; a projection reads the activated input."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.before = nn.Sequential(nn.BatchNorm2d(channels_in), nn.ReLU())
        self.branch = nn.Sequential(
            *conv_bn(channels_in, channels_out, 3, stride),
            nn.ReLU(),
            nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False),
        )
        changes = stride != 1 or channels_in != channels_out
        self.project = nn.Conv2d(channels_in, channels_out, 1, stride, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        active = self.before(x)
        shortcut: Tensor = x if self.project is None else self.project(active)
        branch: Tensor = self.branch(active)
        return branch + shortcut


class InvertedResidual(nn.Module):
    """MobileNetV2: expand, filter each channel, project linearly; a shortcut where the shape allows it."""

    def __init__(self, channels_in: int, channels_out: int, stride: int, expand: int) -> None:
        super().__init__()
        inner = channels_in * expand
        layers: list[nn.Module] = [*conv_bn(channels_in, inner, 1), nn.ReLU6()] if expand > 1 else []
        layers += [*conv_bn(inner, inner, 3, stride, groups=inner), nn.ReLU6(), *conv_bn(inner, channels_out, 1)]
        self.branch = nn.Sequential(*layers)
        self.has_shortcut = stride == 1 and channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        branch: Tensor = self.branch(x)
        return x + branch if self.has_shortcut else branch


class ConvNeXtBlock(nn.Module):
    """Depthwise 7x7, then norm and MLP in NHWC, then layer scale, as in the reference implementation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.up = nn.Linear(channels, 4 * channels)
        self.down = nn.Linear(4 * channels, channels)
        self.scale = nn.Parameter(torch.full((channels,), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.depthwise(x).permute(0, 2, 3, 1)
        y = self.scale * self.down(functional.gelu(self.up(self.norm(y))))
        return x + y.permute(0, 3, 1, 2)


def _resnet_v1(
    depths: tuple[int, ...], *, bottleneck: bool = False, excite: bool = False, pad_shortcut: bool = False
) -> nn.Module:
    layers: list[nn.Module] = [*conv_bn(3, 8), nn.ReLU()]
    channels_in = channels = 8
    for stage, depth in enumerate(depths):
        channels = (16 if bottleneck else 8) << stage
        for index in range(depth):
            stride = 2 if stage and not index else 1
            block = V1Block(
                channels_in, channels, stride, bottleneck=bottleneck, excite=excite, pad_shortcut=pad_shortcut
            )
            layers.append(block)
            channels_in = channels
    return nn.Sequential(*layers, *head(channels))


def _preact_resnet() -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(3, 8, 3, padding=1, bias=False)]
    for channels_in, channels_out, stride in ((8, 8, 1), (8, 8, 1), (8, 16, 2), (16, 16, 1), (16, 32, 2), (32, 32, 1)):
        layers.append(PreActBlock(channels_in, channels_out, stride))
    return nn.Sequential(*layers, nn.BatchNorm2d(32), nn.ReLU(), *head(32))


def _mobilenet_v2() -> nn.Module:
    layers: list[nn.Module] = [*conv_bn(3, 8, 3, 2), nn.ReLU6()]
    for channels_in, channels_out, stride, expand in (
        (8, 8, 1, 1),
        (8, 12, 2, 4),
        (12, 12, 1, 4),
        (12, 16, 2, 4),
        (16, 16, 1, 4),
        (16, 16, 1, 4),
    ):
        layers.append(InvertedResidual(channels_in, channels_out, stride, expand))
    return nn.Sequential(*layers, *conv_bn(16, 32, 1), nn.ReLU6(), *head(32))


def _convnext() -> nn.Module:
    stem = [nn.Conv2d(3, 8, 2, 2), ChannelNorm(8)]
    between = [ChannelNorm(8), nn.Conv2d(8, 16, 2, 2)]
    stages = [ConvNeXtBlock(8), ConvNeXtBlock(8), *between, ConvNeXtBlock(16), ConvNeXtBlock(16)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(16), nn.Linear(16, CLASSES)]
    return nn.Sequential(*stem, *stages, *head)


def resnet_v1() -> Built:
    """Basic blocks, 1x1 projections at the two stage changes."""
    return build(lambda: _resnet_v1((2, 2, 2)))


def resnet_v1_pad() -> Built:
    """Basic blocks, strided slice and channel padding at the two stage changes."""
    return build(lambda: _resnet_v1((2, 2, 2), pad_shortcut=True), seed=1)


def resnet_bottleneck() -> Built:
    """Bottleneck blocks; the first of each stage has a projection."""
    return build(lambda: _resnet_v1((3, 2), bottleneck=True), seed=2)


def resnet_preact() -> Built:
    """Pre-activation blocks; the two that change the stage have a projection."""
    return build(_preact_resnet, seed=3)


def resnet_se() -> Built:
    """Basic blocks with squeeze-excite at the end of the branch."""
    return build(lambda: _resnet_v1((2, 2, 2), excite=True), seed=4)


def mobilenet_v2() -> Built:
    """Inverted residuals with ReLU6."""
    return build(_mobilenet_v2, seed=5)


def convnext() -> Built:
    """Two stages of two blocks, downsampling between them without a shortcut."""
    return build(_convnext, seed=6)


ENTRIES = (
    Entry("resnet_v1", resnet_v1, IMAGE, fast=True, blocks=4),
    Entry("resnet_v1_pad", resnet_v1_pad, IMAGE, fast=True, blocks=4),
    Entry("resnet_bottleneck", resnet_bottleneck, IMAGE, fast=True, blocks=3),
    Entry("resnet_preact", resnet_preact, IMAGE, fast=True, blocks=4),
    Entry("resnet_se", resnet_se, IMAGE, fast=True, blocks=4),
    Entry("mobilenet_v2", mobilenet_v2, IMAGE, fast=True, blocks=4),
    Entry("convnext", convnext, IMAGE, fast=True, blocks=4),
)
