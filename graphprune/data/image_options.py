"""How pictures become an input: size, fit, scale, mean and deviation, by themselves or by the name of a habit."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from graphprune.errors import OptionError

Fit = Literal["crop", "letterbox", "stretch"]
Layout = Literal["auto", "nchw", "nhwc"]
Resample = Literal["bilinear", "bicubic"]
Size = tuple[int, int]


@dataclass(frozen=True)
class ImageOptions:
    """What is done to a picture before a network sees it; what is None is left to ``preprocess``, or to the model.

    ``size`` (height, width) is what the model takes, unless that is free. ``fit``: ``crop`` scales the shorter side to
    ``size`` over ``crop_share`` and cuts out the middle, ``letterbox`` fits the whole picture and fills with grey,
    ``stretch`` changes its proportions. Pixels in 0..255 are multiplied by ``scale``, ``mean`` is taken off for each
    channel and the rest divided by ``std``. ``preprocess`` names a habit (:data:`PRESETS`), or is the path of a
    ``preprocessor_config.json`` of transformers.
    """

    preprocess: str | Path | None = None
    size: Size | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    layout: Layout = "auto"
    fit: Fit | None = None
    crop_share: float | None = None
    scale: float | None = None
    resample: Resample | None = None

    @property
    def says_nothing(self) -> bool:
        """Whether pixel values are left to a guess."""
        return self.preprocess is None and self.mean is None and self.std is None and self.scale is None

    def complete(self) -> ImageOptions:
        """With the values of the habit, and of none where there is none, in place of what is None but the size.

        Raises
        ------
        OptionError
            There is no such habit, or its file cannot be read.
        """
        habit = _NONE if self.preprocess is None else habit_of(str(self.preprocess))
        said = {name: value for name, value in vars(self).items() if value is not None and name != "layout"}
        return replace(habit, **said, layout=self.layout)


_NONE = ImageOptions(mean=(0.0,), std=(1.0,), fit="crop", crop_share=1.0, scale=1 / 255, resample="bilinear")
PRESETS: dict[str, ImageOptions] = {
    "imagenet": replace(
        _NONE, size=(224, 224), crop_share=0.875, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
    ),
    "clip": replace(
        _NONE,
        size=(224, 224),
        resample="bicubic",
        mean=(0.48145466, 0.4578275, 0.40821073),
        std=(0.26862954, 0.26130258, 0.27577711),
    ),
    "yolo": replace(_NONE, size=(640, 640), fit="letterbox"),
}
"""Sizes are those that such networks take most often, for models that take any."""
_GIVE = "give the preprocessor_config.json of transformers, or --mean, --std and --image"
_BICUBIC = 3  # Pillow's number, which transformers writes


def habit_of(name: str) -> ImageOptions:
    """The options that ``name`` stands for.

    Raises
    ------
    OptionError
        It is neither a habit nor a readable file of transformers.
    """
    if name in PRESETS:
        return PRESETS[name]
    if not name.endswith(".json"):
        raise OptionError(
            f"there is no preprocessing '{name}'",
            f"write {', '.join(PRESETS)}, or the path of a preprocessor_config.json",
        )
    try:
        held = json.loads(Path(name).read_text())
    except (OSError, ValueError) as error:
        raise OptionError(f"{name} cannot be read: {error}", _GIVE) from None
    if not isinstance(held, dict):
        raise OptionError(f"{name} holds no settings", _GIVE)
    return _of_transformers(held, name)


def _of_transformers(held: dict[str, Any], name: str) -> ImageOptions:
    """What an image processor of transformers does."""
    try:
        shown = _size(held.get("size")) if held.get("do_resize", True) else None
        cropped = _size(held.get("crop_size")) if held.get("do_center_crop") else None
        size = cropped or shown
        share = min(size) / min(shown) if size and shown else 1.0
        does_scale, does_normalise = held.get("do_rescale", True), held.get("do_normalize", True)
        keeps_shape = cropped is not None or (isinstance(held.get("size"), dict) and "shortest_edge" in held["size"])
        return replace(
            _NONE,
            size=size,
            crop_share=min(1.0, share),
            fit="crop" if keeps_shape else "stretch",
            scale=float(held.get("rescale_factor", 1 / 255)) if does_scale else 1.0,
            mean=tuple(map(float, held.get("image_mean") or (0.0,))) if does_normalise else (0.0,),
            std=tuple(map(float, held.get("image_std") or (1.0,))) if does_normalise else (1.0,),
            resample="bicubic" if held.get("resample") == _BICUBIC else "bilinear",
        )
    except (TypeError, ValueError, KeyError) as error:
        raise OptionError(f"{name} holds other settings than are read here: {error}", _GIVE) from None


def _size(held: Any) -> Size | None:
    """Height and width of what transformers writes: a number, or a dict."""
    if isinstance(held, int):
        return held, held
    if isinstance(held, dict):
        sides = [held[name] if name in held else held["shortest_edge"] for name in ("height", "width")]
        return int(sides[0]), int(sides[1])
    return None
