"""Every corruption by name, with its parameters for small and for large images."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphprune.base import extras
from graphprune.errors import OptionError
from graphprune.evaluation.corruptions import blur, digital, noise, weather

SEVERITIES = (1, 2, 3, 4, 5)
FAMILIES = ("noise", "blur", "weather", "digital")
_LARGE = 112  # pixels of the shorter side: between the benchmarks' 32 and 224

Effect = Callable[[np.ndarray, Any, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Corruption:
    """``small`` and ``large`` are the parameters of severities 1 to 5 for images of about 32 and 224 pixels.

    ``is_common``: one of the fifteen that the benchmark's mean is over; the others are its hold-outs.
    """

    name: str
    family: str
    effect: Effect
    small: tuple[Any, ...]
    large: tuple[Any, ...]
    is_common: bool = True
    needs_colour: bool = False


CORRUPTIONS = {
    row.name: row
    for row in (
        Corruption(
            "gaussian-noise", "noise", noise.gaussian,
            (0.04, 0.06, 0.08, 0.09, 0.10), (0.08, 0.12, 0.18, 0.26, 0.38),
        ),
        Corruption("shot-noise", "noise", noise.shot, (500, 250, 100, 75, 50), (60, 25, 12, 5, 3)),
        Corruption(
            "impulse-noise", "noise", noise.impulse,
            (0.01, 0.02, 0.03, 0.05, 0.07), (0.03, 0.06, 0.09, 0.17, 0.27),
        ),
        Corruption(
            "speckle-noise", "noise", noise.speckle,
            (0.06, 0.1, 0.12, 0.16, 0.2), (0.15, 0.2, 0.35, 0.45, 0.6), is_common=False,
        ),
        Corruption("gaussian-blur", "blur", blur.gaussian, (0.4, 0.6, 0.7, 0.8, 1), (1, 2, 3, 4, 6), is_common=False),
        Corruption(
            "defocus-blur", "blur", blur.defocus,
            ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
            ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
        ),
        Corruption(
            "glass-blur", "blur", blur.glass,
            ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
            ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
        ),
        Corruption(
            "motion-blur", "blur", blur.motion,
            ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)), ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
        ),
        Corruption(
            "zoom-blur", "blur", blur.zoom,
            ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
            ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
        ),
        Corruption(
            "snow", "weather", weather.snow,
            (
                (0.1, 0.2, 1, 0.6, 8, 3, 0.95), (0.1, 0.2, 1, 0.5, 10, 4, 0.9), (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
                (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85), (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
            ),
            (
                (0.1, 0.3, 3, 0.5, 10, 4, 0.8), (0.2, 0.3, 2, 0.5, 12, 4, 0.7), (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
                (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65), (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
            ),
        ),
        Corruption(
            "fog", "weather", weather.fog,
            ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
            ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
        ),
        Corruption(
            "brightness", "weather", weather.brightness, (0.05, 0.1, 0.15, 0.2, 0.3), (0.1, 0.2, 0.3, 0.4, 0.5)
        ),
        Corruption("contrast", "digital", digital.contrast, (0.75, 0.5, 0.4, 0.3, 0.15), (0.4, 0.3, 0.2, 0.1, 0.05)),
        Corruption(
            "elastic-transform", "digital", digital.elastic,
            ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
            ((2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02)),
        ),
        Corruption("pixelate", "digital", digital.pixelate, (0.95, 0.9, 0.85, 0.75, 0.65), (0.6, 0.5, 0.4, 0.3, 0.25)),
        Corruption("jpeg-compression", "digital", digital.jpeg, (80, 65, 58, 50, 40), (25, 18, 15, 10, 7)),
        Corruption(
            "saturate", "digital", digital.saturate,
            ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)), ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
            is_common=False, needs_colour=True,
        ),
    )
}  # fmt: skip  # a table, a row a line


def chosen(names: Sequence[str]) -> tuple[Corruption, ...]:
    """Corruptions by name or family; ``all`` is every one, ``common`` those in the benchmark's mean, ``none`` none.

    Raises
    ------
    OptionError
        There is no corruption or family of that name.
    """
    found: dict[str, Corruption] = {}
    for name in names:
        rows = [row for row in CORRUPTIONS.values() if name in ("all", row.name, row.family) or _is(name, row)]
        if not rows and name != "none":
            offered = ", ".join(("all", "common", "none", *FAMILIES, *CORRUPTIONS))
            raise OptionError(f"there is no corruption '{name}'", f"choose from {offered}")
        found |= {row.name: row for row in rows}
    return tuple(row for row in CORRUPTIONS.values() if row.name in found)


def check_packages(corruptions: Sequence[Corruption]) -> None:
    """Refuse early where Pillow is needed.

    Raises
    ------
    RuntimeMissing
        A corruption needs Pillow, which is not installed.
    """
    if any(row.effect in (digital.jpeg, digital.pixelate) for row in corruptions):
        extras.pillow()


def _is(name: str, row: Corruption) -> bool:
    return name == "common" and row.is_common


def corrupt(pixels: np.ndarray, corruption: Corruption, severity: int, *, seed: int = 0, first: int = 0) -> np.ndarray:
    """Corrupted copies of ``pixels`` [n, C, H, W] in [0, 1], C 1 or 3,
    rounded down to 8 bits as the benchmark stores them.

    What is random depends on ``seed``, the corruption, the severity and the sample's number (``first`` + row) alone.

    Raises
    ------
    OptionError
        Severity is not 1 to 5.
    RuntimeMissing
        The corruption needs Pillow, which is not installed.
    """
    if severity not in SEVERITIES:
        raise OptionError(f"there is no severity {severity}", "give numbers from 1 to 5")
    parameters = (corruption.large if min(pixels.shape[2:]) >= _LARGE else corruption.small)[severity - 1]
    out = np.empty_like(pixels)
    for row, image in enumerate(pixels.transpose(0, 2, 3, 1)):
        random = np.random.default_rng([seed, zlib.crc32(corruption.name.encode()), severity, first + row])
        result = np.clip(corruption.effect(image, parameters, random), 0, 1)
        out[row] = np.floor(result.transpose(2, 0, 1) * 255 + 1e-6) / 255  # the bytes of a file stay what they are
    return out
