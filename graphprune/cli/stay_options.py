"""Options on what stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

Command = Callable[..., Any]


def stay_options(command: Command) -> Command:
    """What stays, whatever a pass finds."""
    only = click.option(
        "--only", multiple=True, metavar="GLOB", help="Layers, blocks and groups that alone may go; repeatable."
    )
    keep = click.option(
        "--keep", multiple=True, metavar="GLOB", help="Layers, blocks and groups that stay (or re:PATTERN); repeatable."
    )
    return keep(only(command))
