"""Attacks that need no gradients: each image moved, or partly covered, in the one way out of nine that fools a network.

Two kinds of "On the Effect of Pruning on Adversarial Robustness" (ICCVW 2021), with the sizes given there, 4 and 16
pixels; its exact definitions are not public. ``shift`` keeps what the image means: it is moved by so many pixels along
either axis or both, the border repeated. ``occlusion`` covers a square with the image's mean colour.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np

MoveName = Literal["shift", "occlusion"]
SIZES: dict[MoveName, int] = {"shift": 4, "occlusion": 16}
"""In pixels, for images of 32 x 32 and more."""
_LARGEST: dict[MoveName, int] = {"shift": 8, "occlusion": 2}
"""A size is at most this part of a side: an eighth, a half."""


@dataclass(frozen=True)
class Move:
    """``pixels`` to move by, or the side of the square; less where an image is small."""

    name: MoveName
    pixels: int


def move(name: MoveName) -> Move:
    """With the size of the paper."""
    return Move(name, SIZES[name])


def variants(images: np.ndarray, move: Move) -> Iterator[np.ndarray]:
    """The images [n, C, H, W] in each of the nine ways; one of a ``shift`` leaves them where they are."""
    height, width = (min(move.pixels, side // _LARGEST[move.name]) for side in images.shape[2:])
    for down, right in product((0, 1, 2), repeat=2):
        if move.name == "shift":
            yield _shifted(images, (down - 1) * height, (right - 1) * width)
        else:
            yield _covered(images, down, right, height, width)


def _shifted(images: np.ndarray, down: int, right: int) -> np.ndarray:
    rows, columns = (
        np.clip(np.arange(side) - by, 0, side - 1) for side, by in zip(images.shape[2:], (down, right), strict=True)
    )
    found: np.ndarray = images[:, :, rows[:, None], columns]
    return found


def _covered(images: np.ndarray, down: int, right: int, height: int, width: int) -> np.ndarray:
    """A place of three by three, from border to border."""
    top = down * (images.shape[2] - height) // 2
    left = right * (images.shape[3] - width) // 2
    found = images.copy()
    found[:, :, top : top + height, left : left + width] = images.mean((2, 3), keepdims=True)
    return found
