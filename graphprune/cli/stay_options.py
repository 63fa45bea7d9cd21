"""Options on what stays."""

from __future__ import annotations

import click

from graphprune.cli.grouped import grouped
from graphprune.cli.together import Command, together


@grouped("What goes")
def stay_options(command: Command) -> Command:
    """What stays, whatever a pass finds."""
    return together(
        command,
        click.option(
            "--keep",
            multiple=True,
            metavar="GLOB",
            help="Layers, blocks and groups that stay (or re:PATTERN); repeatable.",
        ),
        click.option(
            "--only", multiple=True, metavar="GLOB", help="Layers, blocks and groups that alone may go; repeatable."
        ),
    )
