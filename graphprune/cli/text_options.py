"""Options on how text becomes samples."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from graphprune.cli.grouped import grouped
from graphprune.cli.together import Command, together

if TYPE_CHECKING:
    from graphprune.text.options import TextOptions


@grouped("Samples")
def text_options(command: Command) -> Command:
    """How text becomes samples."""
    return together(
        command,
        click.option(
            "--tokenizer",
            type=click.Path(path_type=Path),
            metavar="FILE|FOLDER",
            help="The tokenizer.json for text; default: the one beside the model.",
        ),
        click.option(
            "--chunk-tokens",
            type=click.IntRange(2),
            help="Tokens in a chunk of text.  [default: 512, or what the model takes]",
        ),
        click.option(
            "--text-field", default="text", show_default=True, help="The text in a record of .jsonl or a dataset."
        ),
    )


def text_settings(settings: dict[str, Any]) -> TextOptions:
    """These options as the API's; they leave ``settings``."""
    from graphprune.text.options import TextOptions

    return TextOptions(*(settings.pop(name) for name in ("tokenizer", "chunk_tokens", "text_field")))
