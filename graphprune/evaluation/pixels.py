"""Between what a network reads and pixels in [0, 1]: the unit of epsilon, and of every corruption."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphprune.errors import DataError, OptionError

_SLACK = 2e-3  # half a step of 8 bits: what rounding on the way to the file can have moved
_ADVICE = "give --pixel-mean and --pixel-std as they were used in the preprocessing"


@dataclass(frozen=True)
class PixelSpace:
    """``input = (pixel - mean) / std``, pixels in [0, 1]. Both arrays are float64 and broadcast against [C, H, W]."""

    mean: np.ndarray
    std: np.ndarray

    def to_pixels(self, inputs: np.ndarray) -> np.ndarray:
        """Float64 pixels in [0, 1] of inputs [n, C, H, W]; what rounding left outside is moved to the border."""
        return np.asarray(np.clip(inputs * self.std + self.mean, 0, 1))

    def to_inputs(self, pixels: np.ndarray, dtype: np.dtype[np.floating]) -> np.ndarray:
        """What the network reads for pixels [n, C, H, W]."""
        inputs: np.ndarray = ((pixels - self.mean) / self.std).astype(dtype)
        return inputs


def pixel_space(inputs: np.ndarray, mean: np.ndarray | None = None, std: np.ndarray | None = None) -> PixelSpace:
    """The pixel space of ``inputs`` [n, C, H, W], which are pixels already where neither mean nor std is given.

    ``mean`` and ``std`` hold one number, one per channel, or an image [C, H, W]; a missing one is 0 or 1.

    Raises
    ------
    DataError
        The inputs are not float images [n, C, H, W].
    OptionError
        Mean or std do not fit the images, or the pixels they lead to are not in [0, 1].
    """
    if inputs.ndim != 4 or inputs.dtype.kind != "f":
        raise DataError(
            f"attacks and corruptions need float images [samples, channels, height, width], "
            f"the data are {inputs.dtype} {list(inputs.shape)}",
            "leave out --attack and --corruptions",
        )
    space = PixelSpace(
        _fitted(mean, 0.0, inputs.shape[1:], "--pixel-mean"), _fitted(std, 1.0, inputs.shape[1:], "--pixel-std")
    )
    if (space.std <= 0).any():
        raise OptionError(f"--pixel-std holds {space.std.min():g}", "give positive numbers")
    low, high = _range(inputs, space)
    if low < -_SLACK or high > 1 + _SLACK:
        if mean is None and std is None:
            message = f"the data run from {low:.3g} to {high:.3g}, so they are no pixels in [0, 1] but normalised"
            raise OptionError(message, _ADVICE)
        raise OptionError(
            f"with this --pixel-mean and --pixel-std the data become pixels from {low:.3g} to {high:.3g}, not 0 to 1",
            _ADVICE,
        )
    return space


def _range(inputs: np.ndarray, space: PixelSpace) -> tuple[float, float]:
    """Least and largest pixel before clipping, some images at a time."""
    ends = []
    for start in range(0, len(inputs), 256):
        part = inputs[start : start + 256] * space.std + space.mean
        ends.append((part.min(), part.max()))
    return float(min(low for low, _ in ends)), float(max(high for _, high in ends))


def _fitted(values: np.ndarray | None, default: float, image: tuple[int, ...], option: str) -> np.ndarray:
    if values is None:
        return np.full((1, 1, 1), default)
    array = np.asarray(values, np.float64)
    if array.size in (1, image[0]) and array.ndim < 2:
        return array.reshape(-1, 1, 1)
    if array.shape == image:
        return array
    raise OptionError(
        f"{option} has the shape {list(array.shape)}, the images are {list(image)}",
        f"give one number, {image[0]} numbers (one per channel), or an .npy file of the images' shape",
    )
