"""Options on how pictures become samples."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from graphprune.cli.grouped import grouped
from graphprune.cli.together import Command, together

if TYPE_CHECKING:
    from graphprune.data.image_options import ImageOptions


class ImageSize(click.ParamType[tuple[int, int]]):
    """``224`` or ``HxW``."""

    name = "SIZE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"([1-9]\d*)(?:x([1-9]\d*))?", value)
        if match is None:
            self.fail(f"'{value}' is no size; write 224, or 480x640 for height and width", param, ctx)
        return int(match[1]), int(match[2] or match[1])


class PerChannel(click.ParamType[tuple[float, ...]]):
    """``0.5`` or ``R,G,B``."""

    name = "R,G,B"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        try:
            return tuple(float(part) for part in value.split(","))
        except ValueError:
            self.fail(f"'{value}' are no numbers with commas", param, ctx)


@grouped("Samples")
def image_options(command: Command) -> Command:
    """How pictures become samples."""
    return together(
        command,
        click.option(
            "--preprocess",
            metavar="HABIT|FILE.json",
            help="What pictures go through: imagenet, clip, yolo, or a preprocessor_config.json of transformers.",
        ),
        click.option("--image", type=ImageSize(), help="Height and width, where the model takes any."),
        click.option("--mean", type=PerChannel(), help="Taken off pixels in [0, 1]."),
        click.option("--std", type=PerChannel(), help="What the rest is divided by."),
        click.option(
            "--layout",
            type=click.Choice(["auto", "nchw", "nhwc"]),
            default="auto",
            show_default=True,
            help="Whether channels come before height and width, or last.",
        ),
    )


def image_settings(settings: dict[str, Any]) -> ImageOptions:
    """These options as the API's; they leave ``settings``."""
    from graphprune.data.image_options import ImageOptions

    names = {"image": "size"}
    given = {name: settings.pop(name) for name in ("preprocess", "image", "mean", "std", "layout")}
    return ImageOptions(**{names.get(name, name): value for name, value in given.items()})
