"""What the values of options may be, and what they become."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

DEFAULT_POINTS = ""
"""What ``--generate`` without a value stands for: those by default, shortened where the model is made for fewer."""


class Shape(click.ParamType[tuple[str, tuple[int, ...]]]):
    """``name:1x3x224x224``, ``1,3,224,224`` or ``name:[1,3,224,224]``; the name may be left out."""

    name = "NAME:SIZES"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(?:(.*):)?\[?([1-9]\d*(?:[x,]\s*[1-9]\d*)*)\]?", value)
        if match is None:
            self.fail(f"'{value}' is no shape; write name:1x3x224x224", param, ctx)
        return match[1] or "", tuple(int(size) for size in re.split(r"[x,]\s*", match[2]))


class Range(click.ParamType[tuple[str, tuple[float, float]]]):
    """``name:[low,high]`` or ``[low,high]``."""

    name = "NAME:[LOW,HIGH]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        number = r"-?\d+(?:\.\d*)?(?:[eE]-?\d+)?"
        match = re.fullmatch(rf"(?:(.*):)?\[?({number}),\s*({number})\]?", value)
        if match is None or float(match[2]) > float(match[3]):
            self.fail(f"'{value}' is no range; write name:[0,1]", param, ctx)
        return match[1] or "", (float(match[2]), float(match[3]))


class BatchAxis(click.ParamType[tuple[str, int | None]]):
    """``name=0``, or ``name=none`` where one array serves all samples of a run."""

    name = "NAME=K|none"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        name, _, axis = value.rpartition("=")
        if not name or not (axis == "none" or axis.isdecimal()):
            self.fail(f"'{value}' names no axis; write name=0, or name=none", param, ctx)
        return name, None if axis == "none" else int(axis)


class Align(click.ParamType[int | str]):
    """A positive number, or ``auto``."""

    name = "N|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, int) or value == "auto":
            return value
        if not value.isdecimal() or int(value) < 1:
            self.fail(f"'{value}' is neither a whole number of at least 1 nor auto", param, ctx)
        return int(value)


class Jobs(click.ParamType[int]):
    """A number of processes, or -1."""

    name = "N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, int) or re.fullmatch(r"-1|[1-9]\d*", value):
            return int(value)
        return self.fail(f"'{value}' is neither a whole number of at least 1 nor -1", param, ctx)


class Drawing(click.ParamType[Path]):
    """A file to draw into; SVG is the only format."""

    name = "FILE.svg"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = Path(value)
        if path.suffix.lower() != ".svg":
            self.fail(f"'{value}' does not end in .svg, the only format drawn", param, ctx)
        return path


class Repair(click.ParamType[Any]):
    """``none`` or repairs separated by commas."""

    name = "METHODS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from graphprune.errors import OptionError
        from graphprune.repair.stage import parse_methods

        try:
            return parse_methods(value)
        except OptionError as error:
            return self.fail(f"{error.message}; {error.fix}", param, ctx)


class Finetune(click.ParamType[Any]):
    """Training options ``key=value`` separated by commas."""

    name = "OPTIONS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from graphprune.errors import OptionError
        from graphprune.training import TrainOptions

        try:
            return TrainOptions.parse(value)
        except OptionError as error:
            return self.fail(f"{error.message}; {error.fix}", param, ctx)


class Heal(click.ParamType[Any]):
    """Steps, a time, ``auto`` or ``none``."""

    name = "STEPS|TIME|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from graphprune.errors import OptionError
        from graphprune.training import healing

        if not isinstance(value, str) or value == "none":
            return value
        try:
            return healing(value)
        except OptionError as error:
            return self.fail(f"{error.message}; {error.fix}", param, ctx)


class Points(click.ParamType[Any]):
    """``16:256,512:128``: lengths of prompt and generation."""

    name = "PROMPT:NEW,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from graphprune.errors import OptionError
        from graphprune.generation.points import parse_points

        if not isinstance(value, str) or value == DEFAULT_POINTS:
            return value
        try:
            return parse_points(value)
        except OptionError as error:
            return self.fail(f"{error.message}; {error.fix}", param, ctx)
