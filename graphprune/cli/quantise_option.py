"""The result in int8, too."""

from __future__ import annotations

import click

from graphprune.cli.together import Command


def quantise_option(command: Command) -> Command:
    """Whether a second file is written."""
    return click.option(
        "--quantise",
        "--quantize",
        type=click.Choice(["int8"]),
        help="Write a second file in int8 beside the result, by ONNX Runtime's static quantiser on --data; all "
        "three are judged and timed.",
    )(command)
