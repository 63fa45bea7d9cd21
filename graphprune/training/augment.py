"""Random crops and flips of image batches, as the papers do them (methods.md 1.6); NumPy only."""

from __future__ import annotations

import numpy as np

from graphprune.data.batching import Arrays
from graphprune.data.fitting import InputSpec

_SMALLEST = 16  # pixels; below that a crop and a flip change more than they teach
_CHANNELS = (1, 3, 4)


def is_image(spec: InputSpec) -> bool:
    """Whether an input looks like square images: float, [n, 1 or 3 or 4, size, size]."""
    if spec.dtype.kind != "f" or len(spec.dims) != 4:
        return False
    _, channels, height, width = spec.dims
    return channels in _CHANNELS and height == width and isinstance(height, int) and height >= _SMALLEST


def crop_flip(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Zero-pad by an eighth of the size, crop at random, mirror with probability one half; each image on its own.

    ``images`` is (n, channels, height, width), and so is the result. An eighth is 4 of 32 and 28 of 224 pixels.
    """
    count, _, height, width = images.shape
    up, side = max(1, height // 8), max(1, width // 8)
    padded = np.pad(images, ((0, 0), (0, 0), (up, up), (side, side)))
    tops = generator.integers(0, 2 * up + 1, count)
    lefts = generator.integers(0, 2 * side + 1, count)
    flips = np.asarray(generator.random(count)) < 0.5
    cropped = np.empty_like(images)
    for index, (top, left, is_flipped) in enumerate(zip(tops, lefts, flips, strict=True)):
        view = padded[index, :, top : top + height, left : left + width]
        cropped[index] = view[..., ::-1] if is_flipped else view
    return cropped


def augmented(feeds: Arrays, names: tuple[str, ...], key: tuple[int, int, int]) -> Arrays:
    """The feeds with the inputs in ``names`` cropped and flipped; a pure function of ``key`` = (seed, epoch, step)."""
    return {
        name: crop_flip(array, np.random.default_rng((1, *key))) if name in names else array
        for name, array in feeds.items()
    }
