"""What is a pixel, and what is refused as one."""

from __future__ import annotations

import numpy as np
import pytest

from graphprune.errors import DataError, OptionError
from graphprune.evaluation.pixels import pixel_space

PIXELS = np.random.default_rng(0).random((7, 3, 4, 5)).astype(np.float32)
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
NORMALISED = ((PIXELS - MEAN[:, None, None]) / STD[:, None, None]).astype(np.float32)


def test_there_and_back() -> None:
    space = pixel_space(NORMALISED, MEAN, STD)
    assert np.abs(space.to_pixels(NORMALISED) - PIXELS).max() < 1e-6
    back = space.to_inputs(PIXELS, np.dtype(np.float32))
    assert back.dtype == np.float32
    assert np.abs(back - NORMALISED).max() < 1e-5


def test_a_mean_image_is_a_mean() -> None:
    image = PIXELS.mean(0)
    space = pixel_space(PIXELS - image, image)
    assert np.abs(space.to_pixels(PIXELS - image) - PIXELS).max() < 1e-6


def test_pixels_need_nothing_and_the_rest_is_refused_by_name() -> None:
    assert np.array_equal(pixel_space(PIXELS).to_pixels(PIXELS), PIXELS)
    with pytest.raises(OptionError, match=r"normalised.*--pixel-mean and --pixel-std"):
        pixel_space(NORMALISED)


@pytest.mark.parametrize(
    ("mean", "std", "says"),
    [
        (MEAN, np.array([1.0]), "not 0 to 1"),
        (MEAN[:2], STD, r"--pixel-mean has the shape \[2\]"),
        (MEAN, np.array([0.2, 0.0, 0.2]), "--pixel-std holds 0"),
        (PIXELS[0, :, :2], STD, r"--pixel-mean has the shape \[3, 2, 5\], the images are \[3, 4, 5\]"),
    ],
)
def test_what_does_not_fit_is_refused(mean: np.ndarray, std: np.ndarray, says: str) -> None:
    with pytest.raises(OptionError, match=says):
        pixel_space(NORMALISED, mean, std)


def test_rows_of_features_are_no_images() -> None:
    with pytest.raises(DataError, match="float images"):
        pixel_space(np.zeros((4, 6), np.float32))
