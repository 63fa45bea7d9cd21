"""Noise. Images are float64 [H, W, C] in [0, 1]; the caller clips the result."""

from __future__ import annotations

import numpy as np


def gaussian(image: np.ndarray, scale: float, random: np.random.Generator) -> np.ndarray:
    """Normal noise of standard deviation ``scale``."""
    return image + random.normal(0, scale, image.shape)


def shot(image: np.ndarray, photons: float, random: np.random.Generator) -> np.ndarray:
    """Poisson counts of ``photons`` at white."""
    counts: np.ndarray = random.poisson(image * photons) / photons
    return counts


def impulse(image: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    """A ``share`` of the values becomes black or white, at even odds."""
    hit, white = random.random(image.shape) < share, random.random(image.shape) < 0.5
    return np.where(hit, white.astype(image.dtype), image)


def speckle(image: np.ndarray, scale: float, random: np.random.Generator) -> np.ndarray:
    """Normal noise in proportion to the value."""
    noisy: np.ndarray = image * (1 + random.normal(0, scale, image.shape))
    return noisy
