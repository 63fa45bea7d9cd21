"""What two sets of samples share: equal samples, halves of windows, images that look alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from graphprune.errors import DataError
from graphprune.protocols.prints import THUMBNAIL, halves, thumbnails, wholes

Kind = Literal["images", "series", "rows"]

ALIKE = 0.33
"""Distance of two thumbnails, as a share of that between nearest neighbours in the set (the median), up to which images
are near duplicates. Of CIFAR-10's test images 1.1 % have a training image so near: of the 111 pairs all but a few ships
at sea show one picture twice. A share, for the clothes of Fashion-MNIST are all alike: none of its are so near."""

_SHORTEST_SERIES = 8
_CHUNK = 512
_YARDSTICK_SAMPLES = 2048


@dataclass
class Prints:
    """What is kept of a set of samples: 48 bytes each, and 1 KiB of each image.

    ``kind`` is what the largest array of a sample (n, ...) is taken for: images (n, c, h, w) or (n, h, w, c) of one or
    three channels and at least 16 pixels, series where an axis has at least 8 steps (the longest is time), rows else.
    """

    kind: Kind = "rows"
    wholes: list[bytes] = field(default_factory=list)
    halves: list[tuple[bytes, bytes]] = field(default_factory=list)
    looks: list[np.ndarray] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.wholes)

    @staticmethod
    def of(chunks: Iterable[Mapping[str, np.ndarray]]) -> Prints:
        """Of samples as they come, some rows of all inputs at a time.

        Raises
        ------
        DataError
            There are no samples, the arrays differ in their number, or the chunks in their inputs.
        """
        prints, names = Prints(), None
        for arrays in chunks:
            if names is not None and names != sorted(arrays):
                raise DataError(f"samples have the inputs {names} and {sorted(arrays)}", "check one set at a time")
            names = sorted(arrays)
            prints._add([np.asarray(arrays[name]) for name in names])
        if not prints.wholes:
            raise DataError("there are no samples to compare", "give at least one")
        return prints

    def _add(self, arrays: list[np.ndarray]) -> None:
        if len({array.shape[:1] for array in arrays}) != 1 or not arrays[0].ndim:
            raise DataError("the arrays of a set differ in their number of samples", "align them")
        largest = max(arrays, key=lambda array: int(np.prod(array.shape[1:])))
        if not len(largest):
            return
        self.wholes += [b"".join(parts) for parts in zip(*map(wholes, arrays), strict=True)]
        self.kind = _kind(largest)
        if self.kind == "images":
            self.looks.append(thumbnails(largest))
        elif self.kind == "series":
            self.halves += halves(largest, 1 + int(np.argmax(largest.shape[1:])))


@dataclass(frozen=True)
class Shared:
    """How many of the ``samples`` of one set are met in another; those met whole do not count again.

    ``equal``: byte for byte. ``overlapping``: a half of the window is a half of a window there. ``alike``: images whose
    thumbnails are as near as :data:`ALIKE` says; pictures moved by some pixels or mirrored are not found.
    """

    samples: int
    equal: int
    overlapping: int
    alike: int

    @property
    def share(self) -> float:
        """Of the samples, those met in any of the ways."""
        return (self.equal + self.overlapping + self.alike) / self.samples


def shared(one: Prints, other: Prints) -> Shared:
    """What of ``one`` is met in ``other``."""
    known = set(other.wholes)
    is_equal = np.array([whole in known for whole in one.wholes])
    known_halves = {half for pair in other.halves for half in pair}
    is_part = np.zeros(len(one), bool)
    if one.halves and known_halves:
        is_part = np.array([any(half in known_halves for half in pair) for pair in one.halves])
    is_alike = np.zeros(len(one), bool)
    if one.looks and other.looks:
        looks = np.concatenate(one.looks)
        is_alike = _distances(looks, np.concatenate(other.looks)) < ALIKE * _apart(looks[:_YARDSTICK_SAMPLES])
    return Shared(
        len(one),
        int(is_equal.sum()),
        int((is_part & ~is_equal).sum()),
        int((is_alike & ~is_equal).sum()),
    )


def repeated(prints: Prints) -> int:
    """How many samples of a set have come before in it, byte for byte."""
    return len(prints) - len(set(prints.wholes))


def _kind(array: np.ndarray) -> Kind:
    sizes = array.shape[1:]
    for channels, *pixels in ((sizes[0], *sizes[1:]), (sizes[-1], *sizes[:-1])) if len(sizes) == 3 else ():
        if channels in (1, 3) and min(pixels) >= THUMBNAIL:
            return "images"
    return "series" if max(sizes, default=0) >= _SHORTEST_SERIES and len(sizes) < 4 else "rows"


def _apart(looks: np.ndarray) -> float:
    """Median distance of different thumbnails of a set from their nearest neighbour; 0 where there is none."""
    different = np.unique(looks, axis=0)
    return float(np.median(_distances(different, different, itself=True))) if len(different) > 1 else 0.0


def _distances(rows: np.ndarray, others: np.ndarray, *, itself: bool = False) -> np.ndarray:
    """Distance (n,) of each row of length 1 from the nearest of the others; ``itself``: which are the same rows."""
    nearest = []
    for start in range(0, len(rows), _CHUNK):
        correlations = rows[start : start + _CHUNK] @ others.T
        if itself:
            correlations[np.arange(len(correlations)), np.arange(start, start + len(correlations))] = -1
        nearest.append(correlations.max(1))
    distances: np.ndarray = np.sqrt(np.maximum(0, 2 - 2 * np.concatenate(nearest)))
    return distances
