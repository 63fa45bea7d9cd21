"""Weather. Images are float64 [H, W, C] in [0, 1]; the caller clips the result."""

from __future__ import annotations

import numpy as np

from graphprune.evaluation.corruptions.blur import enlarged, trail

_LUMA = np.array([0.299, 0.587, 0.114])


def fog(image: np.ndarray, bank: tuple[float, float], random: np.random.Generator) -> np.ndarray:
    """Add a cloud of thickness ``bank[0]`` and roughness decay ``bank[1]``, then dim to the old brightest value."""
    thickness, decay = bank
    height, width = image.shape[:2]
    cloud = plasma(1 << (max(height, width) - 1).bit_length(), decay, random)[:height, :width, None]
    brightest = image.max()
    return np.asarray((image + thickness * cloud) * brightest / (brightest + thickness))


def plasma(size: int, decay: float, random: np.random.Generator) -> np.ndarray:
    """A fractal landscape [size, size] in [0, 1] that tiles, by diamonds and squares; ``size`` is a power of two.

    New points are the mean of their four neighbours plus noise, which shrinks by ``decay`` squared as the grid halves.
    """
    grid = np.zeros((size, size))
    step, noise = size, 1.0
    while step > 1:
        half = step // 2
        corners = grid[::step, ::step]
        shape = corners.shape
        below = corners + np.roll(corners, -1, 0)
        centres = (below + np.roll(below, -1, 1)) / 4 + noise * random.uniform(-1, 1, shape)
        grid[half::step, half::step] = centres
        above, left = centres + np.roll(centres, 1, 0), centres + np.roll(centres, 1, 1)
        across, along = corners + np.roll(corners, -1, 1), corners + np.roll(corners, -1, 0)
        grid[::step, half::step] = (above + across) / 4 + noise * random.uniform(-1, 1, shape)
        grid[half::step, ::step] = (left + along) / 4 + noise * random.uniform(-1, 1, shape)
        step, noise = half, noise / decay**2
    grid -= grid.min()
    return np.asarray(grid / max(grid.max(), 1e-12))


def snow(
    image: np.ndarray, fall: tuple[float, float, float, float, int, float, float], random: np.random.Generator
) -> np.ndarray:
    """Flakes with trails on a whitened image.

    ``fall``: mean and deviation of the flakes' noise, their enlargement, the threshold below which there is none,
    radius and sigma of the trail, and the share of the image that is not whitened.
    """
    centre, spread, size, threshold, radius, sigma, share = fall
    flakes = enlarged(random.normal(centre, spread, (*image.shape[:2], 1)), size)
    flakes = np.clip(np.where(flakes < threshold, 0, flakes), 0, 1)
    flakes = trail(flakes, radius, sigma, float(random.uniform(-135, -45)))
    grey = image @ _LUMA if image.shape[2] == 3 else image[..., 0]
    white = np.maximum(image, grey[..., None] * 1.5 + 0.5)
    return np.asarray(share * image + (1 - share) * white + flakes + np.rot90(flakes, 2))


def brightness(image: np.ndarray, more: float, random: np.random.Generator) -> np.ndarray:
    """``more`` value at the same hue and saturation: each pixel is scaled; black becomes grey."""
    value = image.max(2, keepdims=True)
    target = np.minimum(value + more, 1)
    return np.asarray(np.where(value > 0, image * target / np.where(value > 0, value, 1), target))
