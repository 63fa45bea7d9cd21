"""``graphprune check-data``: whether what a network is judged by has been seen before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from graphprune.base.documents import Document
from graphprune.data import sources
from graphprune.data.batching import LABEL_NAMES
from graphprune.data.fitting import InputSpec
from graphprune.data.image_options import ImageOptions
from graphprune.data.image_sets import is_image_set, open_image_set
from graphprune.data.images import ImageFolder, holds_images, image_chunks
from graphprune.errors import DataError
from graphprune.protocols.shared import ALIKE, Kind, Prints, repeated, shared

_SEEN = InputSpec("picture", np.dtype(np.uint8), (None, 3, 64, 64))
"""What pictures in files are compared as."""


@dataclass(frozen=True)
class CheckedSet:
    """A set of samples; ``repeated`` counts those that have come before in it."""

    role: str
    origin: str
    samples: int
    kind: Kind
    repeated: int


@dataclass(frozen=True)
class SharedSamples:
    """Samples of the set in ``role`` that are met in the one in ``earlier``, as ``protocols.shared`` counts them."""

    role: str
    earlier: str
    equal: int
    overlapping: int
    alike: int
    share: float


class DataCheck(Document, frozen=True, tag="graphprune.data-check/1"):
    """What the sets share; ``notes`` are the warnings."""

    sets: tuple[CheckedSet, ...]
    shared: tuple[SharedSamples, ...]
    alike_from: float
    notes: tuple[str, ...]

    @property
    def is_clean(self) -> bool:
        """Whether no two sets share anything."""
        return not any(pair.share for pair in self.shared)


def check_data(named: dict[str, str], limit: int | None = None) -> DataCheck:
    """Compare sets of samples, role (``calibration``, ``training``, ``evaluation``) -> path, each with those before it.

    ``limit`` is the largest number of samples read from each; None reads all.

    Raises
    ------
    DataError
        A set cannot be read as arrays, is empty, or its samples are not the rows of its arrays.
    """
    prints = {role: Prints.of(_arrays(path, limit)) for role, path in named.items()}
    sets = tuple(
        CheckedSet(role, named[role].rpartition("/")[2], len(each), each.kind, repeated(each))
        for role, each in prints.items()
    )
    pairs = []
    for earlier, role in combinations(prints, 2):
        met = shared(prints[role], prints[earlier])
        pairs.append(SharedSamples(role, earlier, met.equal, met.overlapping, met.alike, met.share))
    return DataCheck(sets, tuple(pairs), ALIKE, tuple(_warning(pair) for pair in pairs if pair.share))


def _warning(pair: SharedSamples) -> str:
    kinds = {"are there too": pair.equal, "share half their time": pair.overlapping, "look the same": pair.alike}
    what = ", ".join(f"{count:,} {words}" for words, count in kinds.items() if count)
    judged = "figures measured on it are too good" if pair.role == "evaluation" else "they count twice"
    return f"{pair.share:.1%} of the {pair.role} samples have been seen in the {pair.earlier} data ({what}): {judged}"


def _chunks(path: str) -> Iterator[Any]:
    if is_image_set(path) or holds_images(Path(path)):
        images = open_image_set(path) if is_image_set(path) else ImageFolder(Path(path))
        yield from image_chunks(images, _SEEN, ImageOptions(fit="stretch"))
        return
    _, chunks = sources.from_path(path)
    yield from chunks()


def _arrays(path: str, limit: int | None) -> Iterator[dict[str, np.ndarray]]:
    """The inputs, without labels, as far as they are to be read."""
    left = limit
    for chunk in _chunks(path):
        if isinstance(chunk, tuple | list) and chunk:  # inputs in order, labels last where there are two or more
            chunk = dict(enumerate(chunk[:-1] if len(chunk) > 1 else chunk))
        held = chunk if isinstance(chunk, dict) else {"": chunk}
        arrays = {str(name): sources.as_array(array) for name, array in held.items() if name not in LABEL_NAMES}
        if not arrays:
            raise DataError(f"{path.rpartition('/')[2]} holds labels and no samples", "give the samples, too")
        if left is not None:
            arrays = {name: array[:left] for name, array in arrays.items()}
            left -= len(next(iter(arrays.values())))
        yield arrays
        if left == 0:
            return
