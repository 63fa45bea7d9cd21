"""A folder of pictures as samples: in the model's size and layout, some at a time, with labels by class folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from graphprune.base import extras
from graphprune.data.batching import LABEL_NAMES, Arrays
from graphprune.data.fitting import InputSpec
from graphprune.data.image_options import ImageOptions, Size
from graphprune.errors import DataError, OptionError

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
_CHUNK = 32
_GREY = 114  # what detectors of the YOLO family are trained to see around a picture
_MODES = {1: "L", 3: "RGB"}


def holds_images(path: Path) -> bool:
    """Whether the folder, or the folders in it, hold pictures, and it no arrays."""
    try:
        if not path.is_dir() or any(each.suffix in (".npz", ".npy") for each in path.iterdir()):
            return False
        return next(_pictures(path), None) is not None
    except OSError:  # whoever reads it says so
        return False


@dataclass(frozen=True)
class ImageFolder:
    """The pictures of ``path`` for the model input ``spec``.

    They come in an order mixed once and for all, so that the first few are of all classes. Where all lie in folders of
    the first level, these are the classes, numbered by name.
    """

    path: Path
    spec: InputSpec
    options: ImageOptions

    def chunks(self) -> Iterator[Arrays]:
        """Some pictures at a time, in the dtype of the input; with labels where there are classes.

        Raises
        ------
        DataError
            A file is no picture that Pillow reads, or the model's input takes none.
        """
        pictures = sorted(_pictures(self.path))
        parents = [picture.relative_to(self.path).parts[0] for picture in pictures]
        are_classes = all(len(picture.relative_to(self.path).parts) > 1 for picture in pictures)
        numbers = {name: number for number, name in enumerate(sorted(set(parents)))} if are_classes else {}
        order = np.random.default_rng(0).permutation(len(pictures))
        form = InputForm.of(self.spec, self.options)
        for start in range(0, len(order), _CHUNK):
            chosen = order[start : start + _CHUNK]
            arrays: Arrays = {self.spec.name: np.stack([form.array(pictures[index]) for index in chosen])}
            if numbers:
                arrays[LABEL_NAMES[0]] = np.array([numbers[parents[index]] for index in chosen], np.int64)
            yield arrays


@dataclass(frozen=True)
class InputForm:
    """How a picture has to look: height and width, channels, and whether these come last."""

    spec: InputSpec
    options: ImageOptions
    size: Size
    channels: int
    is_last: bool

    @classmethod
    def of(cls, spec: InputSpec, options: ImageOptions) -> InputForm:
        """For an input (n, channels, height, width) or (n, height, width, channels).

        Raises
        ------
        DataError
            The input is no picture.
        OptionError
            Its size is free and none is asked for, or another one is asked for than it has.
        """
        said = options.complete()
        dims = spec.dims
        if len(dims) != 4:
            raise DataError(f"pictures have height and width, the model takes {spec}", "give --data as .npz")
        is_last = said.layout == "nhwc" or (said.layout == "auto" and dims[1] not in _MODES and dims[3] in _MODES)
        channel, height, width = (dims[3], dims[1], dims[2]) if is_last else (dims[1], dims[2], dims[3])
        if isinstance(channel, int) and channel not in _MODES:
            raise DataError(f"pictures have 1 or 3 channels, the model takes {spec}", "give --data as .npz")
        own = (height, width) if isinstance(height, int) and isinstance(width, int) else None
        if own and options.size and options.size != own:
            raise OptionError(f"--image {options.size[0]}x{options.size[1]} is not what {spec} takes", "leave it out")
        size = own or said.size
        if size is None:
            raise OptionError(f"the model takes pictures of any size ({spec})", "add --image SIZE, or --preprocess")
        for values in (said.mean, said.std):
            if values is not None and len(values) not in (1, channel if isinstance(channel, int) else 3):
                raise OptionError(f"{len(values)} means or deviations for the channels of {spec}", "give one for each")
        return cls(spec, said, size, channel if isinstance(channel, int) else 3, is_last)

    def array(self, path: Path) -> np.ndarray:
        """The picture of a file as one sample, in the dtype of the input: numbers of pixels for integers."""
        pixels = np.asarray(self._fitted(path), np.float32)
        if self.spec.dtype.kind not in "iu":
            assert self.options.scale and self.options.mean and self.options.std  # complete
            mean, std = (np.array(values, np.float32) for values in (self.options.mean, self.options.std))
            shown = pixels if pixels.ndim == 3 else pixels[:, :, None]
            pixels = (shown * np.float32(self.options.scale) - mean) / std
        pixels = pixels.reshape(*self.size, self.channels)
        turned = pixels if self.is_last else pixels.transpose(2, 0, 1)
        return np.ascontiguousarray(turned).astype(self.spec.dtype)

    def _fitted(self, path: Path) -> Any:
        image_module = extras.pillow("images")
        try:
            with image_module.open(path) as opened:
                picture = _upright(opened).convert(_MODES[self.channels])
        except (OSError, ValueError, SyntaxError, image_module.DecompressionBombError) as error:
            raise DataError(f"the picture {path.name} cannot be read: {error}", "take it out of the folder") from None
        how = {"bilinear": 2, "bicubic": 3}[self.options.resample or "bilinear"]
        height, width = self.size
        if self.options.fit == "stretch":
            return picture.resize((width, height), how)
        scales = width / picture.width, height / picture.height
        if self.options.fit == "letterbox":
            scale = min(scales)
            sides = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
            small = picture.resize(sides, how)
            page = image_module.new(picture.mode, (width, height), _GREY if self.channels == 1 else (_GREY,) * 3)
            page.paste(small, ((width - small.width) // 2, (height - small.height) // 2))
            return page
        scale = max(scales) / (self.options.crop_share or 1.0)
        sides = max(width, round(picture.width * scale)), max(height, round(picture.height * scale))
        large = picture.resize(sides, how)
        left, top = (large.width - width) // 2, (large.height - height) // 2
        return large.crop((left, top, left + width, top + height))


def _upright(picture: Any) -> Any:
    """As the camera was held, which phones write beside the pixels."""
    from PIL import ImageOps

    return ImageOps.exif_transpose(picture)


def _pictures(path: Path) -> Iterator[Path]:
    return (each for each in path.rglob("*") if each.suffix.lower() in SUFFIXES and each.is_file())
