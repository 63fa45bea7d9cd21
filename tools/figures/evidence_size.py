"""How large the experiments of ``evidence.py`` are: what two shared cores can do, and what the papers did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Row = dict[str, Any]
Task = dict[str, Any]
"""What tells a row from the others of its experiment; all of it is in the row, too."""
Name = Literal["small", "paper"]


@dataclass(frozen=True)
class Size:
    """``images`` of ``pixels`` x ``pixels`` train for ``epochs``, after a cut for ``after`` at a tenth of the rate.

    ResNets have three stages of ``widths``. A child of two is tried with ``brief`` epochs on a tenth of the images.
    ``stream`` CIFAR-10 images of 32 x 32 are a stream. Networks of ``joint_blocks`` are pruned in ``joint_steps``, each
    of a block or as many MACs. A task may take ``minutes``.
    """

    name: Name
    data: Literal["Fashion-MNIST", "CIFAR-10 (JPEG)"]
    pixels: int
    widths: tuple[int, int, int]
    images: int
    epochs: int
    lr: float
    batch: int
    after: int
    brief: int
    stream: int
    joint_blocks: tuple[int, int, int]
    joint_steps: int
    minutes: float
    seeds: tuple[int, ...] = (0, 1, 2)

    def training(self, seed: int, epochs: int | None = None) -> str:
        """In the words of training options: from scratch, or so many ``epochs`` after a removal."""
        lr = self.lr if epochs is None else self.lr / 10
        return f"epochs={epochs or self.epochs},lr={lr:g},batch={self.batch},seed={seed}"

    def __str__(self) -> str:
        images = f"{self.images:,} images of {self.data}, {self.pixels} x {self.pixels}"
        return f"{images}, widths {'/'.join(map(str, self.widths))}, {self.epochs} epochs, {self.after} after each cut"


SIZES: dict[Name, Size] = {
    "small": Size("small", "Fashion-MNIST", 14, (8, 16, 32), 5_000, 6, 0.1, 64, 2, 10, 10_000, (3, 3, 3), 3, 60),
    # ResNet-56 down to the 14 % of its MACs that the paper on joint pruning leaves
    "paper": Size(
        "paper",
        "CIFAR-10 (JPEG)",
        32,
        (16, 32, 64),
        50_000,
        200,
        0.01,
        128,
        200,
        10,
        50_000,
        (9, 9, 9),
        23,
        10_000,
    ),
}
