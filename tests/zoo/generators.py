"""Networks whose output is an image: super-resolution, decoders, style transfer. Weights are random."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.zoo.parts import Residual, conv_relu, entry


def espcn() -> nn.Module:
    """Convolutions at low resolution, then channels become pixels."""
    return nn.Sequential(
        nn.Conv2d(3, 24, 5, padding=2),
        nn.Tanh(),
        nn.Conv2d(24, 16, 3, padding=1),
        nn.Tanh(),
        nn.Conv2d(16, 3 * 3 * 3, 3, padding=1),
        nn.PixelShuffle(3),
    )


class Scale(nn.Module):
    """A constant factor."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


def _edsr_block(channels: int) -> nn.Module:
    first, second = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
    return Residual(nn.Sequential(first, nn.ReLU(), second, Scale(0.5)))


def edsr() -> nn.Module:
    """Residual blocks without norm, scaled down, inside one long skip; two PixelShuffles upscale by four."""
    body = nn.Sequential(*(_edsr_block(12) for _ in range(3)), nn.Conv2d(12, 12, 3, padding=1))
    up = [layer for _ in range(2) for layer in (nn.Conv2d(12, 48, 3, padding=1), nn.PixelShuffle(2))]
    return nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), Residual(body), *up, nn.Conv2d(12, 3, 3, padding=1))


class DenseBranch(nn.Module):
    """ESRGAN's branch: convolutions that each read the input and all before them, scaled down."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        widths = [channels + index * growth for index in range(3)]
        self.grow = nn.ModuleList(nn.Conv2d(width, growth, 3, padding=1) for width in widths[:-1])
        self.fuse = nn.Conv2d(widths[-1], channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        maps = [x]
        for grow in self.grow:
            maps.append(functional.leaky_relu(grow(torch.cat(maps, 1)), 0.2))
        y: Tensor = self.fuse(torch.cat(maps, 1))
        return 0.5 * y


def esrgan() -> nn.Module:
    """Residuals in residuals in a residual; the innermost ones are the blocks."""

    def block() -> nn.Module:
        return Residual(nn.Sequential(*(Residual(DenseBranch(12, 6)) for _ in range(2)), Scale(0.5)))

    body = nn.Sequential(block(), block(), nn.Conv2d(12, 12, 3, padding=1))
    up = [nn.Upsample(scale_factor=2), nn.Conv2d(12, 12, 3, padding=1), nn.LeakyReLU(0.2)]
    return nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), Residual(body), *up, nn.Conv2d(12, 3, 3, padding=1))


def dcgan() -> nn.Module:
    """A generator: noise of one position grows through transposed convolutions into an image."""
    layers: list[nn.Module] = [nn.Unflatten(1, (24, 1, 1))]
    for before, width, stride, padding in ((24, 32, 1, 0), (32, 24, 2, 1), (24, 12, 2, 1)):
        layers.append(nn.ConvTranspose2d(before, width, 4, stride, padding, bias=False))
        layers += [nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*layers, nn.ConvTranspose2d(12, 3, 4, 2, 1), nn.Tanh())


def autoencoder() -> nn.Module:
    """A dense bottleneck: flattened at 4x4 positions and unflattened again, leaky activations."""
    encoder = [nn.Conv2d(3, 8, 3, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(8, 16, 3, 2, 1), nn.LeakyReLU(0.2)]
    middle = [nn.Flatten(), nn.Linear(16 * 8 * 8, 20), nn.ELU(), nn.Linear(20, 16 * 8 * 8), nn.Unflatten(1, (16, 8, 8))]
    first = nn.ConvTranspose2d(16, 8, 3, 2, 1, output_padding=1)
    second = nn.ConvTranspose2d(8, 3, 3, 2, 1, output_padding=1)
    return nn.Sequential(*encoder, *middle, nn.LeakyReLU(0.2), first, nn.LeakyReLU(0.2), second, nn.Sigmoid())


class StyleConv(nn.Module):
    """Reflection padding, convolution, InstanceNorm with a learned scale."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(kernel // 2),
            nn.Conv2d(channels_in, channels_out, kernel, stride),
            nn.InstanceNorm2d(channels_out, affine=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y


def style_transfer() -> nn.Module:
    """Johnson's network: InstanceNorm, reflected borders, residual blocks, resize and convolution to go up."""
    blocks = [Residual(nn.Sequential(StyleConv(24, 24), nn.ReLU(), StyleConv(24, 24))) for _ in range(3)]
    up = [nn.Upsample(scale_factor=2), StyleConv(24, 12), nn.ReLU(), nn.Upsample(scale_factor=2), StyleConv(12, 8)]
    down = [StyleConv(3, 8, 9), nn.ReLU(), StyleConv(8, 12, 3, 2), nn.ReLU(), StyleConv(12, 24, 3, 2), nn.ReLU()]
    return nn.Sequential(*down, *blocks, *up, nn.ReLU(), nn.ReflectionPad2d(4), nn.Conv2d(8, 3, 9))


class DnCnn(nn.Module):
    """A chain that predicts the noise, which is then taken away from the image."""

    def __init__(self) -> None:
        super().__init__()
        middle = [conv_relu(12, 12) for _ in range(3)]
        self.noise = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), *middle, nn.Conv2d(12, 3, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.clamp(x - self.noise(x), -1.0, 1.0)


def dncnn() -> nn.Module:
    """One skip around the whole network, from the model's input, by subtraction."""
    return DnCnn()


ENTRIES = (
    entry(espcn, 0, fast=True, image=(3, 16, 16)),
    entry(edsr, 3, image=(3, 16, 16)),
    entry(esrgan, 4, image=(3, 16, 16)),
    entry(dcgan, 0, noise=(24,)),
    entry(autoencoder, 0),
    entry(style_transfer, 3),
    entry(dncnn, 0),
)
