"""``--json`` of commands that have nothing else to write."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from graphprune.cli.together import Command

if TYPE_CHECKING:
    from graphprune.base.documents import Document


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


def write_json(path: Path, document: Document) -> None:
    """Write ``document`` to a file, or to stdout.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    from graphprune.errors import InputError

    if str(path) == "-":
        sys.stdout.write(document.to_json())
        return
    try:
        path.write_text(document.to_json())
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}", "choose another --json") from None
