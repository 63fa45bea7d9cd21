"""What cameras and files do. Images are float64 [H, W, C] in [0, 1]; the caller clips the result."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from scipy import ndimage

from graphprune.base import extras


def contrast(image: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    """Each channel moves to its mean until ``share`` of the distance is left."""
    middle = image.mean((0, 1), keepdims=True)
    return np.asarray((image - middle) * share + middle)


def saturate(image: np.ndarray, colour: tuple[float, float], random: np.random.Generator) -> np.ndarray:
    """Saturation times ``colour[0]`` plus ``colour[1]``, at the same hue and value; grey counts as hue 0, red."""
    value, least = image.max(2, keepdims=True), image.min(2, keepdims=True)
    depth = value - least  # value * saturation
    saturation = np.where(value > 0, depth / np.where(value > 0, value, 1), 0)
    wanted = value * np.clip(saturation * colour[0] + colour[1], 0, 1)
    red = np.array([0.0, 1.0, 1.0])
    away = np.where(depth > 0, (value - image) / np.where(depth > 0, depth, 1), red)
    return np.asarray(value - wanted * away)


def jpeg(image: np.ndarray, quality: int, random: np.random.Generator) -> np.ndarray:
    """Through a JPEG file of this ``quality``."""
    file = io.BytesIO()
    _picture(image).save(file, "JPEG", quality=quality)
    return _pixels(extras.pillow().open(file), image.shape)


def pixelate(image: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    """Down to ``share`` of the width and height by box averages, and up again."""
    box = extras.pillow().Resampling.BOX
    height, width = image.shape[:2]
    small = _picture(image).resize((max(1, int(width * share)), max(1, int(height * share))), box)
    return _pixels(small.resize((width, height), box), image.shape)


def elastic(image: np.ndarray, pull: tuple[float, float, float], random: np.random.Generator) -> np.ndarray:
    """A random affine map, then a smooth field of shifts; ``pull`` is their strength, sigma,
    and the map's corners' shift.

    All three are shares of the image's shorter side.
    """
    height, width = image.shape[:2]
    strength, sigma, shift = (share * min(height, width) for share in pull)
    third, centre = min(height, width) // 3, np.array([height // 2, width // 2])
    corners = centre + third * np.array([[1, 1], [1, -1], [-1, -1]])
    moved = corners + random.uniform(-shift, shift, (3, 2))
    # Where each output pixel comes from: moved -> corners, as rows of [y, x, 1] @ unknown.
    affine = np.linalg.solve(np.column_stack([moved, np.ones(3)]), corners)
    rows, columns = np.mgrid[:height, :width].astype(np.float64)
    source = np.stack([rows, columns, np.ones_like(rows)], -1) @ affine
    image = _sampled(image, source[..., 0], source[..., 1], "mirror")
    down, right = (
        strength * ndimage.gaussian_filter(random.uniform(-1, 1, (height, width)), sigma, mode="reflect", truncate=3)
        for _ in range(2)
    )
    return _sampled(image, rows + down, columns + right, "reflect")


def _sampled(image: np.ndarray, rows: np.ndarray, columns: np.ndarray, mode: str) -> np.ndarray:
    channels = [
        ndimage.map_coordinates(image[..., channel], [rows, columns], order=1, mode=mode)
        for channel in range(image.shape[2])
    ]
    return np.stack(channels, -1)


def _picture(image: np.ndarray) -> Any:
    bytes_ = np.rint(image * 255).astype(np.uint8)
    return extras.pillow().fromarray(bytes_[..., 0] if image.shape[2] == 1 else bytes_)


def _pixels(picture: Any, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(picture, np.float64).reshape(shape) / 255
