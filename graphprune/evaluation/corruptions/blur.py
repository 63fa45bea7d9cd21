"""Blur. Images are float64 [H, W, C] in [0, 1]; the caller clips the result."""

from __future__ import annotations

from math import ceil, cos, hypot, radians, sin

import numpy as np
from scipy import ndimage


def gaussian(image: np.ndarray, sigma: float, random: np.random.Generator) -> np.ndarray:
    """Normal blur of ``sigma`` pixels."""
    return np.asarray(ndimage.gaussian_filter(image, (sigma, sigma, 0), mode="nearest"))


def defocus(image: np.ndarray, lens: tuple[float, float], random: np.random.Generator) -> np.ndarray:
    """A disk of radius ``lens[0]`` pixels, its edge softened by a narrow normal blur of ``lens[1]`` pixels.

    As in the benchmark, the grid of the largest disks ends where they do, which brightens them by up to 1 %.
    """
    radius, softness = lens
    reach = max(8, ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disk = (x**2 + y**2 <= radius**2).astype(np.float64)
    taps = np.arange(-1, 2) if radius <= 8 else np.arange(-2, 3)
    soft = np.exp(-(taps**2) / (2 * softness**2))
    kernel = ndimage.convolve(disk / disk.sum(), np.outer(soft, soft) / soft.sum() ** 2, mode="mirror")
    return np.asarray(ndimage.correlate(image, kernel[..., None], mode="mirror"))


def glass(image: np.ndarray, pane: tuple[float, int, int], random: np.random.Generator) -> np.ndarray:
    """Blur, put near pixels in the place of pixels, blur: ``pane`` is sigma, largest shift, rounds.

    The paper speaks of exchanging them. The benchmark's loop copies one over the other,
    and exchanging carries pixels far along the scan, a third more error at severity 1. The published images decide,
    so this copies.
    """
    sigma, shift, rounds = pane
    image = gaussian(image, sigma, random)
    height, width, channels = image.shape
    order = list(range(height * width))
    for _ in range(rounds):
        moves = random.integers(-shift, shift, (height, width, 2)).tolist()
        for row in range(height - shift, shift, -1):
            for column in range(width - shift, shift, -1):
                down, right = moves[row][column]
                order[row * width + column] = order[(row + down) * width + column + right]
    return gaussian(image.reshape(-1, channels)[order].reshape(image.shape), sigma, random)


def motion(image: np.ndarray, camera: tuple[int, float], random: np.random.Generator) -> np.ndarray:
    """A trail of ``camera[0]`` pixels each way that fades with sigma ``camera[1]``, within 45 degrees of horizontal."""
    return trail(image, *camera, float(random.uniform(-45, 45)))


def trail(image: np.ndarray, radius: int, sigma: float, degrees: float) -> np.ndarray:
    """Sum of shifted images with half a normal curve as weights, as ImageMagick's motion blur does; edges repeat."""
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    height, width = image.shape[:2]
    down, right = sin(radians(degrees)), cos(radians(degrees))
    out = np.zeros_like(image)
    for step, weight in zip(steps.tolist(), weights / weights.sum(), strict=True):
        rows = np.clip(np.arange(height) + ceil(step * down / hypot(down, right) - 0.5), 0, height - 1)
        columns = np.clip(np.arange(width) + ceil(step * right / hypot(down, right) - 0.5), 0, width - 1)
        out += weight * image[rows][:, columns]
    return out


def zoom(image: np.ndarray, lens: tuple[float, float], random: np.random.Generator) -> np.ndarray:
    """Mean of the image and of enlargements from 1 up to, without, ``lens[0]`` in steps of ``lens[1]``."""
    factors = np.arange(1, lens[0], lens[1])
    total = image + sum(enlarged(image, float(factor)) for factor in factors)
    return np.asarray(total / (len(factors) + 1))


def enlarged(image: np.ndarray, factor: float) -> np.ndarray:
    """The middle of the image, ``factor`` times as large, in the same number of pixels."""
    cut = [ceil(size / factor) for size in image.shape[:2]]
    top, left = ((size - part) // 2 for size, part in zip(image.shape[:2], cut, strict=True))
    large = ndimage.zoom(image[top : top + cut[0], left : left + cut[1]], (factor, factor, 1), order=1)
    down, right = ((have - want) // 2 for have, want in zip(large.shape[:2], image.shape[:2], strict=True))
    return np.asarray(large[down : down + image.shape[0], right : right + image.shape[1]])
