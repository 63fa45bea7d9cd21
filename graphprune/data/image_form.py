"""How a picture becomes one sample of a model's input: fitted to its size, scaled, in its layout and dtype."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from graphprune.base import extras
from graphprune.data.fitting import InputSpec
from graphprune.data.image_options import ImageOptions, Size
from graphprune.errors import DataError, OptionError

_GREY = 114  # what detectors of the YOLO family are trained to see around a picture
_MODES = {1: "L", 3: "RGB"}


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

    def array(self, picture: Any) -> np.ndarray:
        """A picture of Pillow's as one sample, in the dtype of the input: numbers of pixels for integers."""
        pixels = np.asarray(self._fitted(picture.convert(_MODES[self.channels])), np.float32)
        if self.spec.dtype.kind not in "iu":
            assert self.options.scale and self.options.mean and self.options.std  # complete
            mean, std = (np.array(values, np.float32) for values in (self.options.mean, self.options.std))
            shown = pixels if pixels.ndim == 3 else pixels[:, :, None]
            pixels = (shown * np.float32(self.options.scale) - mean) / std
        pixels = pixels.reshape(*self.size, self.channels)
        turned = pixels if self.is_last else pixels.transpose(2, 0, 1)
        return np.ascontiguousarray(turned).astype(self.spec.dtype)

    def _fitted(self, picture: Any) -> Any:
        how = {"bilinear": 2, "bicubic": 3}[self.options.resample or "bilinear"]
        height, width = self.size
        if self.options.fit == "stretch":
            return picture.resize((width, height), how)
        scales = width / picture.width, height / picture.height
        if self.options.fit == "letterbox":
            scale = min(scales)
            sides = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
            small = picture.resize(sides, how)
            page = extras.pillow("images").new(
                picture.mode, (width, height), _GREY if self.channels == 1 else (_GREY,) * 3
            )
            page.paste(small, ((width - small.width) // 2, (height - small.height) // 2))
            return page
        scale = max(scales) / (self.options.crop_share or 1.0)
        sides = max(width, round(picture.width * scale)), max(height, round(picture.height * scale))
        large = picture.resize(sides, how)
        left, top = (large.width - width) // 2, (large.height - height) // 2
        return large.crop((left, top, left + width, top + height))
