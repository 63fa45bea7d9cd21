"""``--json`` of commands that have nothing else to write."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from graphprune.cli.together import Command
from graphprune.errors import InputError


def json_option(command: Command) -> Command:
    """Where to write JSON; without a value to stdout."""
    return click.option(
        "--json",
        "json_path",
        type=click.Path(path_type=Path, allow_dash=True),
        is_flag=False,
        flag_value="-",
        metavar="FILE|-",
        help="Write JSON; alone or with -, to stdout.",
    )(command)


def write_json(path: Path, text: str) -> None:
    """Write a document's ``text`` to a file, or to stdout.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    if str(path) == "-":
        sys.stdout.write(text)
        return
    try:
        path.write_text(text)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}", "choose another --json") from None
