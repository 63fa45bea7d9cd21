"""What the hand-written networks of the zoo share: random weights that keep every layer alive, and common layers."""

from __future__ import annotations

from collections.abc import Callable
from zlib import crc32

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.zoo.entry import Built, Entry

CLASSES = 5

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def randomise(module: nn.Module) -> nn.Module:
    """Shake every parameter and give each BatchNorm statistics of its own; eval mode.

    No two parameters stay equal, so no exporter merges them; weights keep the signal's size, so every block matters.
    """
    with torch.no_grad():
        for parameter in module.parameters():
            noise = parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.05
            parameter.add_(torch.randn_like(parameter), alpha=noise)
        for part in module.modules():
            if isinstance(part, _BATCH_NORMS) and part.running_mean is not None and part.running_var is not None:
                part.running_mean.normal_(0.0, 0.2)
                part.running_var.uniform_(0.5, 1.5)
    return module.eval()


def build_for(make: Callable[[], nn.Module], seed: int, **shapes: tuple[int, ...]) -> Built:
    """A randomised network and normal noise of the given shapes for its inputs, in the order of its parameters."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return randomise(make()), {name: torch.randn(shape) for name, shape in shapes.items()}


def build(make: Callable[[], nn.Module], seed: int = 0, size: int = 32) -> Built:
    """A randomised image network and a batch of two images for it."""
    return build_for(make, seed, image=(2, 3, size, size))


def entry(
    make: Callable[[], nn.Module],
    blocks: int,
    *,
    fast: bool = False,
    **shapes: tuple[int, ...],
) -> Entry:
    """The entry of a network with a dynamic batch, named and seeded after the function that makes it.

    Its inputs are noise of these shapes; without any, one image of 32x32 pixels.
    """
    name = make.__name__
    inputs = {key: (2, *shape) for key, shape in (shapes or {"image": (3, 32, 32)}).items()}
    axes = {key: {0: "batch"} for key in inputs}
    seed = crc32(name.encode())
    return Entry(name, lambda: build_for(make, seed, **inputs), axes, blocks, fast)


def conv_bn(
    channels_in: int, channels_out: int, kernel: int = 3, stride: int = 1, groups: int = 1, dilation: int = 1
) -> list[nn.Module]:
    """A convolution without bias that keeps the size but for its stride, and its BatchNorm."""
    padding = kernel // 2 * dilation
    conv = nn.Conv2d(channels_in, channels_out, kernel, stride, padding, dilation, groups, bias=False)
    return [conv, nn.BatchNorm2d(channels_out)]


def conv_relu(channels_in: int, channels_out: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, BatchNorm, ReLU."""
    return nn.Sequential(*conv_bn(channels_in, channels_out, kernel, stride), nn.ReLU())


def head(channels: int) -> list[nn.Module]:
    """Global average pooling and a linear classifier."""
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, CLASSES)]


class SqueezeExcite(nn.Module):
    """Channel attention: a gate computed from the mean of each channel."""

    def __init__(
        self, channels: int, activation: type[nn.Module] = nn.ReLU, gate: type[nn.Module] = nn.Sigmoid
    ) -> None:
        super().__init__()
        squeezed = max(4, channels // 4)  # two would often both be dead
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.activation = activation()
        self.expand = nn.Conv2d(squeezed, channels, 1)
        self.gate = gate()

    def forward(self, x: Tensor) -> Tensor:
        gate: Tensor = self.gate(self.expand(self.activation(self.reduce(functional.adaptive_avg_pool2d(x, 1)))))
        return x * gate


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of an NCHW tensor."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(x.permute(0, 2, 3, 1))
        return y.permute(0, 3, 1, 2)


class Residual(nn.Module):
    """``activation(shortcut(x) + branch(x))``; without a shortcut of its own, a block that can go."""

    def __init__(
        self, branch: nn.Module, shortcut: nn.Module | None = None, activation: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.branch = branch
        self.shortcut = nn.Identity() if shortcut is None else shortcut
        self.activation = nn.Identity() if activation is None else activation

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.activation(self.shortcut(x) + self.branch(x))
        return y


class Branches(nn.Module):
    """Several views of one input, side by side in the channels."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)
