"""``graphprune passes``."""

from __future__ import annotations

from pathlib import Path

import click

from graphprune.cli.grouped import GroupedCommand
from graphprune.cli.json_output import json_option, write_json


@click.command(cls=GroupedCommand)
@click.argument("name", nargs=-1, metavar="[NAME]...")
@json_option
def passes(name: tuple[str, ...], json_path: Path | None) -> None:
    """List the passes; tell all about those that are named."""
    from graphprune.cli.listing import pass_listing, print_details, print_passes
    from graphprune.passes import names

    if json_path is not None and str(json_path) in names():  # --json, and then a name
        json_path, name = Path("-"), (str(json_path), *name)
    if json_path is not None:
        write_json(json_path, pass_listing(name).to_json())
    elif name:
        print_details(name)
    else:
        print_passes(pass_listing(name))
