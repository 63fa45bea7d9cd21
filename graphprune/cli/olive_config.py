"""``graphprune olive-config``: the file that makes the passes known to Olive."""

from __future__ import annotations

import json
from pathlib import Path

import click

from graphprune.cli.grouped import GroupedCommand


@click.command("olive-config", cls=GroupedCommand)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write.  [default: stdout]")
def olive_config(output: Path | None) -> None:
    """Write Olive's package config with these passes added.

    \b
    graphprune olive-config -o packages.json
    olive run --config workflow.json --package-config packages.json

    It is made from the Olive that is installed; write it again after an update.
    """
    from graphprune.cli.show import check_outputs, write_text
    from graphprune.integrations.olive_package import package_config

    check_outputs({"-o": output})
    text = json.dumps(package_config(), indent=2) + "\n"
    if output is None:
        click.echo(text, nl=False)
    else:
        write_text(output, text, "-o")
