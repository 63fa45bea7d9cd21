"""Corruptions: the same for the same seed, worse with severity, and each against something known."""

from __future__ import annotations

import colorsys
import io
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from graphprune.errors import OptionError
from graphprune.evaluation.corruptions import CORRUPTIONS, SEVERITIES, blur, chosen, corrupt, digital, weather
from graphprune.evaluation.corruptions.catalogue import Corruption, Effect

pytest.importorskip("PIL")
RANDOM = np.random.default_rng(0)
ALL = list(CORRUPTIONS.values())


def smooth(count: int, size: int = 32, channels: int = 3) -> np.ndarray:
    """Images with the falling spectrum of natural ones, in 8 bits: [n, C, size, size] in [0, 1]."""
    layers = [
        ndimage.gaussian_filter(RANDOM.standard_normal((count, channels, size, size)), (0, 0, sigma, sigma)) * sigma
        for sigma in (0.7, 1.5, 3, 6)
    ]
    return np.asarray(np.rint(np.clip(0.5 + 0.25 * sum(layers), 0, 1) * 255) / 255)


IMAGES = smooth(24)


def rms(spoilt: np.ndarray, images: np.ndarray = IMAGES) -> float:
    return float(np.sqrt(((spoilt - images) ** 2).mean()))


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.name)
def test_depends_on_seed_and_sample_alone_and_stays_in_8_bits(kind: Corruption) -> None:
    whole = corrupt(IMAGES[:6], kind, 3)
    assert np.array_equal(corrupt(IMAGES[4:6], kind, 3, first=4), whole[4:6])
    assert whole.shape == (6, 3, 32, 32)
    assert whole.min() >= 0
    assert whole.max() <= 1
    assert np.abs(whole * 255 - np.rint(whole * 255)).max() < 1e-9
    assert rms(whole, IMAGES[:6]) > 0.003


@pytest.mark.parametrize(
    "name",
    ["gaussian-noise", "shot-noise", "impulse-noise", "glass-blur", "motion-blur", "fog", "snow", "elastic-transform"],
)
def test_random_ones_differ_by_seed_and_by_sample(name: str) -> None:
    twins = np.repeat(IMAGES[:1], 2, 0)
    spoilt = corrupt(twins, CORRUPTIONS[name], 3)
    assert not np.array_equal(spoilt[0], spoilt[1])
    assert not np.array_equal(spoilt, corrupt(twins, CORRUPTIONS[name], 3, seed=1))


# The benchmark's own parameters are not monotone here: elastic trades the affine part for the field,
# saturate goes down first.
@pytest.mark.parametrize(
    "kind",
    [k for k in ALL if k.name not in ("elastic-transform", "saturate", "glass-blur")],
    ids=lambda kind: kind.name,
)
def test_error_grows_with_severity(kind: Corruption) -> None:
    errors = [rms(corrupt(IMAGES, kind, level)) for level in SEVERITIES]
    assert all(more >= 0.97 * less for less, more in pairwise(errors)), errors
    assert errors[-1] > 1.2 * errors[0]


def test_noise_has_its_moments() -> None:
    grey = np.full((8, 3, 64, 64), 0.5)
    assert rms(corrupt(grey, CORRUPTIONS["gaussian-noise"], 2), grey) == pytest.approx(0.06, rel=0.03)
    assert rms(corrupt(grey, CORRUPTIONS["shot-noise"], 3), grey) == pytest.approx(np.sqrt(0.5 / 100), rel=0.03)
    assert rms(corrupt(grey, CORRUPTIONS["speckle-noise"], 2), grey) == pytest.approx(0.5 * 0.1, rel=0.03)
    spoilt = corrupt(grey, CORRUPTIONS["impulse-noise"], 4)
    assert (spoilt == 1).mean() == pytest.approx(0.025, rel=0.1)
    assert (spoilt == 0).mean() == pytest.approx(0.025, rel=0.1)


def test_blur_keeps_what_is_flat_and_the_mean_of_a_point() -> None:
    flat = np.full((20, 20, 3), 0.4)
    point = np.zeros((65, 65, 1))
    point[32, 32] = 1
    cases: tuple[tuple[Effect, Any], ...] = (
        (blur.gaussian, 0.8),
        (blur.defocus, (1.5, 0.1)),
        (blur.defocus, (6, 0.5)),
        (blur.motion, (9, 2.5)),
        (blur.glass, (0.4, 1, 2)),
        (blur.zoom, (1.26, 0.01)),
    )
    for effect, parameter in cases:
        assert effect(flat, parameter, RANDOM) == pytest.approx(flat)
        if effect in (blur.gaussian, blur.defocus, blur.motion):
            assert effect(point, parameter, RANDOM).sum() == pytest.approx(1, abs=1e-6)


def test_defocus_of_a_point_is_the_disk() -> None:
    point = np.zeros((65, 65, 1))
    point[32, 32] = 1
    y, x = np.mgrid[-32:33, -32:33]
    disk = x**2 + y**2 <= 36
    seen = blur.defocus(point, (6, 0.1), RANDOM)[..., 0]
    assert seen == pytest.approx(disk / disk.sum(), abs=1e-6)


def test_a_horizontal_trail_is_half_a_normal_curve() -> None:
    point = np.zeros((9, 41, 1))
    point[4, 20] = 1
    seen = blur.trail(point, 6, 2.0, 0.0)[..., 0]
    weights = np.exp(-(np.arange(13) ** 2) / 8)
    assert seen[4, 20:7:-1] == pytest.approx(weights / weights.sum())
    assert seen[[0, 1, 2, 3, 5, 6, 7, 8]].max() == 0


def test_zoom_enlarges_about_the_middle() -> None:
    ramp = np.tile(np.arange(64.0)[:, None, None] - 31.5, (1, 64, 1))
    large = blur.enlarged(ramp, 2.0)
    assert large.shape == ramp.shape
    assert np.diff(large[:, 0, 0]).mean() == pytest.approx(0.5, rel=0.05)
    assert abs(large.mean()) < 0.3


def test_brightness_and_saturation_are_those_of_hsv() -> None:
    image = RANDOM.random((6, 6, 3))
    image[0, 0], image[0, 1] = 0.0, 0.3  # black and grey
    brighter, richer = weather.brightness(image, 0.2, RANDOM), digital.saturate(image, (2, 0.1), RANDOM)
    for place in np.ndindex(6, 6):
        hue, saturation, value = colorsys.rgb_to_hsv(*image[place])
        assert brighter[place] == pytest.approx(colorsys.hsv_to_rgb(hue, saturation, min(1, value + 0.2)))
        assert richer[place] == pytest.approx(colorsys.hsv_to_rgb(hue, min(1, saturation * 2 + 0.1), value))


def test_jpeg_is_what_pillow_writes() -> None:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.rint(IMAGES[0].transpose(1, 2, 0) * 255).astype(np.uint8)).save(file, "JPEG", quality=58)
    expected = np.asarray(Image.open(file)).transpose(2, 0, 1) / 255
    assert np.array_equal(corrupt(IMAGES[:1], CORRUPTIONS["jpeg-compression"], 3)[0], expected)


def test_contrast_and_fog_by_formula() -> None:
    image = RANDOM.random((32, 32, 3))
    assert digital.contrast(image, 0.3, RANDOM) == pytest.approx(0.3 * image + 0.7 * image.mean((0, 1)))
    cloud = weather.plasma(32, 2.5, np.random.default_rng(3))
    assert (cloud.min(), cloud.max()) == (0, 1)
    foggy = weather.fog(image, (0.75, 2.5), np.random.default_rng(3))
    assert foggy == pytest.approx((image + 0.75 * cloud[..., None]) * image.max() / (image.max() + 0.75))


def test_plasma_is_the_mean_of_four_neighbours_plus_shrinking_noise() -> None:
    size, decay, random = 8, 1.75, np.random.default_rng(5)
    grid, step, noise = np.zeros((size, size)), size, 1.0
    while step > 1:
        half = step // 2
        draws = [noise * random.uniform(-1, 1, (size // step, size // step)) for _ in range(3)]
        for draw, (top, left) in zip(draws, [(half, half), (0, half), (half, 0)], strict=True):  # centres first
            slanted = top == left
            near = [(1, 1), (1, -1), (-1, 1), (-1, -1)] if slanted else [(1, 0), (-1, 0), (0, 1), (0, -1)]
            for row, column in np.ndindex(draw.shape):
                y, x = top + row * step, left + column * step
                grid[y, x] = (
                    np.mean([grid[(y + half * dy) % size, (x + half * dx) % size] for dy, dx in near])
                    + draw[row, column]
                )
        step, noise = half, noise / decay**2
    expected = (grid - grid.min()) / (grid.max() - grid.min())
    assert weather.plasma(size, decay, np.random.default_rng(5)) == pytest.approx(expected)


def test_plasma_tiles_and_is_smoother_with_more_decay() -> None:
    def roughness(decay: float) -> float:
        clouds = [weather.plasma(32, decay, np.random.default_rng(seed)) for seed in range(20)]
        steps = [np.abs(cloud - np.roll(cloud, 1, axis)) for cloud in clouds for axis in (0, 1)]
        return float(np.mean(steps))

    assert roughness(3) < 0.7 * roughness(1.4)
    clouds = [weather.plasma(32, 3, np.random.default_rng(seed)) for seed in range(40)]
    seam = np.mean([np.abs(cloud[0] - cloud[-1]).mean() for cloud in clouds])
    assert seam < 2 * np.mean([np.abs(np.diff(cloud, axis=0)).mean() for cloud in clouds])


def test_elastic_without_pull_is_the_image() -> None:
    image = RANDOM.random((32, 32, 3))
    assert digital.elastic(image, (0, 0, 0), RANDOM) == pytest.approx(image)
    shifts = [
        np.abs(digital.elastic(image, pull, np.random.default_rng(0)) - image).mean()
        for pull in ((0, 0, 0.01), (0.08, 0.06, 0))
    ]
    assert min(shifts) > 0.005


@pytest.mark.parametrize("kind", [k for k in ALL if not k.needs_colour], ids=lambda kind: kind.name)
@pytest.mark.parametrize(("size", "channels"), [(28, 1), (128, 3)])
def test_grey_and_large_images(kind: Corruption, size: int, channels: int) -> None:
    images = smooth(1, size, channels)
    for level in (1, 5):
        spoilt = corrupt(images, kind, level)
        assert spoilt.shape == images.shape
        assert rms(spoilt, images) > 0.002


def test_choosing() -> None:
    assert len(chosen(["all"])) == 17
    assert len(chosen(["common"])) == 14  # the benchmark's fifteen without frost
    assert [kind.name for kind in chosen(["weather", "fog", "jpeg-compression"])] == [
        "snow",
        "fog",
        "brightness",
        "jpeg-compression",
    ]
    assert chosen(["none"]) == chosen([]) == ()
    with pytest.raises(OptionError, match="there is no corruption 'frost'"):
        chosen(["frost"])
    with pytest.raises(OptionError, match="no severity 6"):
        corrupt(IMAGES, CORRUPTIONS["fog"], 6)
