"""Sets of pictures as samples: in the model's size and layout, some at a time, with labels where there are classes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from graphprune.base import extras
from graphprune.data.batching import LABEL_NAMES, Arrays
from graphprune.data.fitting import InputSpec
from graphprune.data.image_form import InputForm
from graphprune.data.image_options import ImageOptions
from graphprune.errors import DataError

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
_CHUNK = 32


class ImageSet(Protocol):
    """Pictures by number, each read when it is asked for."""

    @property
    def name(self) -> str: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[Any, int | None]:
        """A picture of Pillow's, and the number of its class where the set has classes.

        Raises
        ------
        DataError
            It cannot be read.
        """
        ...


def image_chunks(images: ImageSet, spec: InputSpec, options: ImageOptions) -> Iterator[Arrays]:
    """Some pictures at a time, in the dtype of the input; with labels where there are classes.

    They come in an order mixed once and for all, so that the first few are of all classes.

    Raises
    ------
    DataError
        A picture cannot be read, or the model's input takes none.
    OptionError
        Its size is not known, or the options do not fit it.
    """
    form = InputForm.of(spec, options)
    order = np.random.default_rng(0).permutation(len(images))
    for start in range(0, len(order), _CHUNK):
        samples, labels = [], []
        for index in order[start : start + _CHUNK]:
            picture, label = images[int(index)]
            samples.append(form.array(picture))
            labels.append(label)
        arrays: Arrays = {spec.name: np.stack(samples)}
        if None not in labels:
            arrays[LABEL_NAMES[0]] = np.array(labels, np.int64)
        yield arrays


def holds_images(path: Path) -> bool:
    """Whether the folder, or the folders in it, hold pictures, and it no arrays."""
    try:
        if not path.is_dir() or any(each.suffix in (".npz", ".npy") for each in path.iterdir()):
            return False
        return next(_pictures(path), None) is not None
    except OSError:  # whoever reads it says so
        return False


class ImageFolder:
    """The pictures of a folder. Where all lie in folders of the first level, these are the classes,
    numbered by name.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._files = sorted(_pictures(path))
        parts = [file.relative_to(path).parts for file in self._files]
        are_classes = all(len(each) > 1 for each in parts)
        numbers = {name: number for number, name in enumerate(sorted({each[0] for each in parts}))}
        self._labels = [numbers[each[0]] if are_classes else None for each in parts]

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> tuple[Any, int | None]:
        """See :class:`ImageSet`."""
        image_module, file = extras.pillow("images"), self._files[index]
        try:
            with image_module.open(file) as opened:
                return _upright(opened), self._labels[index]
        except (OSError, ValueError, SyntaxError, image_module.DecompressionBombError) as error:
            raise DataError(f"the picture {file.name} cannot be read: {error}", "take it out of the folder") from None


def _upright(picture: Any) -> Any:
    """As the camera was held, which phones write beside the pixels."""
    from PIL import ImageOps

    return ImageOps.exif_transpose(picture)


def _pictures(path: Path) -> Iterator[Path]:
    return (each for each in path.rglob("*") if each.suffix.lower() in SUFFIXES and each.is_file())
