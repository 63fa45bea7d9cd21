"""Networks that answer for each position: segmentation, detection, keypoints. Weights are random."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.zoo.parts import CLASSES, Branches, Residual, conv_bn, conv_relu, entry


def _double(channels_in: int, channels_out: int) -> nn.Module:
    return nn.Sequential(conv_relu(channels_in, channels_out), conv_relu(channels_out, channels_out))


class UNet(nn.Module):
    """Encoder and decoder; each decoder level reads the upsampled level below beside the encoder's."""

    def __init__(self, ups: list[nn.Module]) -> None:
        super().__init__()
        self.encode = nn.ModuleList([_double(3, 8), _double(8, 16), _double(16, 24)])
        self.ups = nn.ModuleList(ups)
        self.decode = nn.ModuleList([_double(32, 16), _double(16, 8)])
        self.classify = nn.Conv2d(8, CLASSES, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips: list[Tensor] = []
        for level, encode in enumerate(self.encode):
            x = encode(functional.max_pool2d(x, 2) if level else x)
            skips.append(x)
        for up, decode, skip in zip(self.ups, self.decode, reversed(skips[:-1]), strict=True):
            x = decode(torch.cat((skip, up(x)), 1))
        y: Tensor = self.classify(x)
        return y


def unet() -> nn.Module:
    """Transposed convolutions go up; skips are concatenated."""
    return UNet([nn.ConvTranspose2d(24, 16, 2, 2), nn.ConvTranspose2d(16, 8, 2, 2)])


def unet_upsample() -> nn.Module:
    """Bilinear and nearest interpolation go up, each with a convolution behind."""
    bilinear = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
    nearest = nn.Upsample(scale_factor=2, mode="nearest")
    return UNet([nn.Sequential(bilinear, conv_relu(24, 16, 1)), nn.Sequential(nearest, nn.Conv2d(16, 8, 1))])


class LinkNet(nn.Module):
    """A U-Net that adds its skips: each level is one long residual around everything below it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_relu(3, 8, 3, 2)
        self.down = nn.ModuleList([conv_relu(8, 16, 3, 2), conv_relu(16, 24, 3, 2)])
        self.middle = _basic(24)
        self.up = nn.ModuleList([_up(24, 16), _up(16, 8)])
        self.classify = nn.ConvTranspose2d(8, CLASSES, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        outer = self.stem(x)
        inner = self.down[0](outer)
        inner = inner + self.up[0](self.middle(self.down[1](inner)))
        y: Tensor = self.classify(outer + self.up[1](inner))
        return y


def _basic(channels: int, dilation: int = 1) -> nn.Module:
    branch = nn.Sequential(conv_relu(channels, channels), *conv_bn(channels, channels, dilation=dilation))
    return Residual(branch, activation=nn.ReLU())


def _up(channels_in: int, channels_out: int) -> nn.Module:
    up = nn.ConvTranspose2d(channels_in, channels_out, 3, 2, 1, output_padding=1, bias=False)
    return nn.Sequential(up, nn.BatchNorm2d(channels_out), nn.ReLU())


def linknet() -> nn.Module:
    """Added skips of an encoder and decoder; only the residual block at the bottom is a layer."""
    return LinkNet()


class PartialStage(nn.Module):
    """C2f: chunks of the channels, one bottleneck after the other, every intermediate result kept."""

    def __init__(self, channels_in: int, channels_out: int, depth: int, *, shortcut: bool) -> None:
        super().__init__()
        half = channels_out // 2
        self.enter = _conv_silu(channels_in, channels_out, 1)
        steps = [nn.Sequential(_conv_silu(half, half), _conv_silu(half, half)) for _ in range(depth)]
        self.steps = nn.ModuleList(Residual(step) if shortcut else step for step in steps)
        self.fuse = _conv_silu((2 + depth) * half, channels_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        maps = list(self.enter(x).chunk(2, 1))
        for step in self.steps:
            maps.append(step(maps[-1]))
        fused: Tensor = self.fuse(torch.cat(maps, 1))
        return fused


def _conv_silu(channels_in: int, channels_out: int, kernel: int = 3, stride: int = 1) -> nn.Module:
    return nn.Sequential(*conv_bn(channels_in, channels_out, kernel, stride), nn.SiLU())


class DetectionHead(nn.Module):
    """Box distances as expectations over bins, and class scores, for every position of one level."""

    def __init__(self, channels: int, bins: int = 4) -> None:
        super().__init__()
        self.boxes = nn.Sequential(_conv_silu(channels, 16), nn.Conv2d(16, 4 * bins, 1))
        self.scores = nn.Sequential(_conv_silu(channels, 8), nn.Conv2d(8, CLASSES, 1))
        self.register_buffer("bins", torch.arange(bins, dtype=torch.float32).reshape(1, 1, bins, 1))

    def forward(self, x: Tensor) -> Tensor:
        bins = self.get_buffer("bins")
        logits = self.boxes(x).flatten(2).unflatten(1, (4, bins.shape[2]))
        boxes = (torch.softmax(logits, 2) * bins).sum(2)
        return torch.cat((boxes, torch.sigmoid(self.scores(x).flatten(2))), 1)


class Yolo(nn.Module):
    """A backbone of partial stages, a neck that goes up and down again, one head per level."""

    def __init__(self) -> None:
        super().__init__()
        self.shallow = nn.Sequential(
            _conv_silu(3, 8, 3, 2), _conv_silu(8, 16, 3, 2), PartialStage(16, 16, 2, shortcut=True)
        )
        self.deep = nn.Sequential(_conv_silu(16, 24, 3, 2), PartialStage(24, 24, 2, shortcut=True))
        self.deepest = nn.Sequential(_conv_silu(24, 32, 3, 2), PartialStage(32, 32, 1, shortcut=True))
        self.up = nn.ModuleList(
            [PartialStage(24 + 32, 24, 1, shortcut=False), PartialStage(16 + 24, 16, 1, shortcut=False)]
        )
        self.down = nn.ModuleList([_conv_silu(16, 16, 3, 2), _conv_silu(24, 24, 3, 2)])
        self.merge = nn.ModuleList(
            [PartialStage(16 + 24, 24, 1, shortcut=False), PartialStage(24 + 32, 32, 1, shortcut=False)]
        )
        self.heads = nn.ModuleList([DetectionHead(channels) for channels in (16, 24, 32)])

    def forward(self, x: Tensor) -> Tensor:
        shallow = self.shallow(x)
        deep = self.deep(shallow)
        deepest = self.deepest(deep)
        middle = self.up[0](torch.cat((functional.interpolate(deepest, scale_factor=2.0), deep), 1))
        fine = self.up[1](torch.cat((functional.interpolate(middle, scale_factor=2.0), shallow), 1))
        middle = self.merge[0](torch.cat((self.down[0](fine), middle), 1))
        coarse = self.merge[1](torch.cat((self.down[1](middle), deepest), 1))
        found = [head(level) for head, level in zip(self.heads, (fine, middle, coarse), strict=True)]
        return torch.cat(found, 2)


def yolo() -> nn.Module:
    """YOLOv8 in small: backbone, path aggregation, decoupled heads, all levels in one output."""
    return Yolo()


class FeaturePyramid(nn.Module):
    """A residual backbone of three levels, projected to one width and added from the top down."""

    def __init__(self) -> None:
        super().__init__()
        widths = (12, 16, 24)
        self.levels = nn.ModuleList(
            nn.Sequential(conv_relu(before, width, 3, 2), _basic(width))
            for before, width in zip((3, *widths), widths, strict=False)
        )
        self.lateral = nn.ModuleList(nn.Conv2d(width, 16, 1) for width in widths)
        self.smooth = nn.ModuleList(nn.Conv2d(16, 16, 3, padding=1) for _ in widths)
        self.tower = nn.Sequential(conv_relu(16, 16), nn.Conv2d(16, CLASSES, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        laterals: list[Tensor] = []
        for level, lateral in zip(self.levels, self.lateral, strict=True):
            x = level(x)
            laterals.append(lateral(x))
        maps = [laterals.pop()]
        while laterals:
            finer = laterals.pop()
            maps.append(finer + functional.interpolate(maps[-1], size=finer.shape[2:], mode="nearest"))
        found = [self.tower(smooth(level)).flatten(2) for smooth, level in zip(self.smooth, maps, strict=True)]
        return torch.cat(found, 2)


def fpn() -> nn.Module:
    """Top-down adds of projected levels are no blocks; one head is shared by all levels, as in RetinaNet."""
    return FeaturePyramid()


class Exchange(nn.Module):
    """HRNet's module: blocks in both resolutions, then each adds what the other has, resized."""

    def __init__(self, fine: int, coarse: int) -> None:
        super().__init__()
        self.fine, self.coarse = _basic(fine), _basic(coarse)
        self.to_fine = nn.Sequential(*conv_bn(coarse, fine, 1), nn.Upsample(scale_factor=2))
        self.to_coarse = nn.Sequential(*conv_bn(fine, coarse, 3, 2))

    def forward(self, fine: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        fine, coarse = self.fine(fine), self.coarse(coarse)
        return torch.relu(fine + self.to_fine(coarse)), torch.relu(self.to_coarse(fine) + coarse)


class HrNet(nn.Module):
    """Two resolutions in parallel that exchange features twice; the head reads both."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_relu(3, 12, 3, 2)
        self.fine, self.coarse = conv_relu(12, 8), conv_relu(12, 16, 3, 2)
        self.exchanges = nn.ModuleList([Exchange(8, 16), Exchange(8, 16)])
        self.classify = nn.Conv2d(24, CLASSES, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        fine, coarse = self.fine(x), self.coarse(x)
        for exchange in self.exchanges:
            fine, coarse = exchange(fine, coarse)
        larger = functional.interpolate(coarse, scale_factor=2.0, mode="bilinear", align_corners=False)
        heatmaps: Tensor = self.classify(torch.cat((fine, larger), 1))
        return heatmaps


def hrnet() -> nn.Module:
    """Sums of two resolutions cross over: neither operand is the other's input, so only inner blocks can go."""
    return HrNet()


def _preact(channels: int) -> nn.Module:
    layers = [nn.BatchNorm2d(channels), nn.ReLU(), *conv_bn(channels, channels // 2, 1), nn.ReLU()]
    return Residual(nn.Sequential(*layers, nn.Conv2d(channels // 2, channels, 3, padding=1)))


class Hourglass(nn.Module):
    """A level keeps its resolution in one block and adds what the next coarser level makes of the same input."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.keep = _preact(channels)
        inner = Hourglass(channels, depth - 1) if depth > 1 else _preact(channels)
        self.coarse = nn.Sequential(
            nn.MaxPool2d(2), _preact(channels), inner, _preact(channels), nn.Upsample(None, 2.0)
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.keep(x) + self.coarse(x)
        return y


def hourglass() -> nn.Module:
    """Written out, a level is ``(x + a) + b``, where ``b`` holds blocks of its own and so is none."""
    return nn.Sequential(conv_relu(3, 16, 3, 2), Hourglass(16, 2), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 4, 1))


class ImagePool(nn.Module):
    """Features of the whole image, spread over all positions again."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.AdaptiveAvgPool2d(1), conv_relu(channels_in, channels_out, 1))

    def forward(self, x: Tensor) -> Tensor:
        return functional.interpolate(self.conv(x), size=x.shape[2:], mode="bilinear", align_corners=False)


class DeepLab(nn.Module):
    """Dilated residual backbone, parallel rates, and a decoder that reads an early level through few channels."""

    def __init__(self) -> None:
        super().__init__()
        self.early = nn.Sequential(conv_relu(3, 12, 3, 2), _basic(12))
        self.late = nn.Sequential(conv_relu(12, 24, 3, 2), _basic(24, dilation=2), _basic(24, dilation=4))
        rates = [nn.Sequential(*conv_bn(24, 12, dilation=rate), nn.ReLU()) for rate in (2, 4, 6)]
        self.pyramid = nn.Sequential(Branches(conv_relu(24, 12, 1), *rates, ImagePool(24, 12)), conv_relu(60, 16, 1))
        self.narrow = conv_relu(12, 6, 1)
        self.decode = nn.Sequential(conv_relu(22, 16), nn.Conv2d(16, CLASSES, 1))

    def forward(self, x: Tensor) -> Tensor:
        early = self.early(x)
        late = self.pyramid(self.late(early))
        size = early.shape[2:]
        late = functional.interpolate(late, size=size, mode="bilinear", align_corners=False)
        coarse = self.decode(torch.cat((self.narrow(early), late), 1))
        return functional.interpolate(coarse, size=x.shape[2:], mode="bilinear", align_corners=False)


def deeplab() -> nn.Module:
    """DeepLabv3+: dilations, a branch over the global mean, upsampling to the sizes of other tensors."""
    return DeepLab()


ENTRIES = (
    entry(unet, 0, fast=True),
    entry(unet_upsample, 0),
    entry(linknet, 1),
    entry(yolo, 5, fast=True, image=(3, 64, 64)),
    entry(fpn, 3),
    entry(hrnet, 4),
    entry(hourglass, 7),
    entry(deeplab, 3),
)
