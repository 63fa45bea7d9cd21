"""Convolutions over one and three axes and over point sets; convolution before recurrence. Weights are random."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.zoo.parts import CLASSES, Residual, conv_relu, entry


class CausalConv(nn.Module):
    """Padded on both sides, then cropped at the end, as the reference implementation of TCN does."""

    def __init__(self, channels_in: int, channels_out: int, dilation: int) -> None:
        super().__init__()
        self.padding = 2 * dilation
        self.conv = nn.Conv1d(channels_in, channels_out, 3, padding=self.padding, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)[:, :, : -self.padding]
        return y.contiguous()


class LastStep(nn.Module):
    """The features of the last time step."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, -1]


def _tcn_block(before: int, width: int, dilation: int) -> nn.Module:
    layers = [CausalConv(before, width, dilation), nn.ReLU(), CausalConv(width, width, dilation), nn.ReLU()]
    return Residual(nn.Sequential(*layers), nn.Conv1d(before, width, 1) if before != width else None, nn.ReLU())


def tcn() -> nn.Module:
    """Dilated causal convolutions; both operands of a join have left a ReLU already."""
    blocks = [_tcn_block(4, 16, 1), _tcn_block(16, 16, 2), _tcn_block(16, 16, 4), _tcn_block(16, 24, 8)]
    return nn.Sequential(*blocks, LastStep(), nn.Linear(24, CLASSES))


class WaveNet(nn.Module):
    """Gated layers, each with a residual and a skip output from the same features."""

    def __init__(self, channels: int = 12, depth: int = 3) -> None:
        super().__init__()
        self.enter = nn.Conv1d(4, channels, 1)
        self.gated = nn.ModuleList(nn.Conv1d(channels, 2 * channels, 2, dilation=2**index) for index in range(depth))
        self.residual = nn.ModuleList(nn.Conv1d(channels, channels, 1) for _ in range(depth - 1))
        self.skip = nn.ModuleList(nn.Conv1d(channels, 16, 1) for _ in range(depth))
        self.leave = nn.Sequential(nn.ReLU(), nn.Conv1d(16, 16, 1), nn.ReLU(), nn.Conv1d(16, CLASSES, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        skips: list[Tensor] = []
        for index, (gated, skip) in enumerate(zip(self.gated, self.skip, strict=True)):
            filtered, gate = gated(functional.pad(x, (2**index, 0))).chunk(2, 1)
            features = torch.tanh(filtered) * torch.sigmoid(gate)
            skips.append(skip(features))
            if index < len(self.residual):
                x = x + self.residual[index](features)
        y: Tensor = self.leave(sum(skips[1:], skips[0]))
        return y


def wavenet() -> nn.Module:
    """Every residual branch also feeds the skip sum, so no layer can go by bypassing its join alone."""
    return WaveNet()


def _conv3d(before: int, width: int, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> list[nn.Module]:
    padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
    return [nn.Conv3d(before, width, kernel, stride, padding, bias=False), nn.BatchNorm3d(width)]


def _factorised(before: int, width: int, stride: int) -> list[nn.Module]:
    """R(2+1)D: a convolution in space, then one in time."""
    space = _conv3d(before, width, (1, 3, 3), (1, stride, stride))
    return [*space, nn.ReLU(), *_conv3d(width, width, (3, 1, 1), (stride, 1, 1))]


def _video_block(before: int, width: int, stride: int) -> nn.Module:
    branch = nn.Sequential(*_factorised(before, width, stride), nn.ReLU(), *_factorised(width, width, 1))
    changes = stride != 1 or before != width
    shortcut = nn.Sequential(*_conv3d(before, width, (1, 1, 1), (stride, stride, stride))) if changes else None
    return Residual(branch, shortcut, nn.ReLU())


def video_resnet() -> nn.Module:
    """R(2+1)D: three-dimensional residual blocks, convolutions split into space and time."""
    stem = [*_conv3d(3, 8, (3, 5, 5), (1, 2, 2)), nn.ReLU(), nn.MaxPool3d((1, 2, 2))]
    blocks = [_video_block(8, 8, 1), _video_block(8, 8, 1), _video_block(8, 16, 2), _video_block(16, 16, 1)]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(16, CLASSES))


class Crnn(nn.Module):
    """Columns of convolutional features become the steps of a recurrent network that reads both ways."""

    def __init__(self) -> None:
        super().__init__()
        pool = nn.MaxPool2d((2, 1))
        self.features = nn.Sequential(
            conv_relu(1, 8), nn.MaxPool2d(2), conv_relu(8, 16), nn.MaxPool2d(2), conv_relu(16, 16), pool
        )
        self.recurrent = nn.GRU(16 * 2, 12, bidirectional=True)
        self.classify = nn.Linear(24, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        columns = self.features(x).flatten(1, 2).permute(2, 0, 1)
        steps, _ = self.recurrent(columns)
        y: Tensor = self.classify(steps.transpose(0, 1))
        return torch.log_softmax(y, 2)


def crnn() -> nn.Module:
    """Reads lines of text: convolutions flattened over height only, a bidirectional GRU, classes for every column."""
    return Crnn()


class Transform(nn.Module):
    """PointNet's T-Net: a matrix for each sample, the identity plus what an MLP predicts, applied to every point."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.points = nn.Sequential(*_conv1d(size, 24), *_conv1d(24, 32))
        self.matrix = nn.Sequential(nn.Linear(32, 24), nn.ReLU(), nn.Linear(24, size * size))
        self.register_buffer("identity", torch.eye(size))
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        flat = self.matrix(self.points(x).amax(2))
        matrix = flat.unflatten(1, (self.size, self.size)) + self.get_buffer("identity")
        return torch.bmm(x.transpose(1, 2), matrix).transpose(1, 2)


def _conv1d(before: int, width: int) -> list[nn.Module]:
    return [nn.Conv1d(before, width, 1), nn.BatchNorm1d(width), nn.ReLU()]


class MaxPoints(nn.Module):
    """The largest value of each feature over all points."""

    def forward(self, x: Tensor) -> Tensor:
        return x.amax(2)


def pointnet() -> nn.Module:
    """1x1 convolutions over a set of points, predicted matrices applied to it, a maximum over all points."""
    points = [Transform(3), *_conv1d(3, 16), Transform(16), *_conv1d(16, 24), *_conv1d(24, 40), MaxPoints()]
    return nn.Sequential(*points, nn.Linear(40, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, CLASSES))


ENTRIES = (
    entry(tcn, 2, signal=(4, 40)),
    entry(wavenet, 0, signal=(4, 32)),
    entry(video_resnet, 3, clip=(3, 8, 32, 32)),
    entry(crnn, 0, line=(1, 16, 48)),
    entry(pointnet, 0, points=(3, 50)),
)
