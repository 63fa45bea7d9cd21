"""Options on a training that may be interrupted."""

from __future__ import annotations

from pathlib import Path

import click

from graphprune.cli.together import Command, together


def checkpoint_options(command: Command) -> Command:
    """Where the state of the run is kept, and whether to go on from it."""
    return together(
        command,
        click.option(
            "--checkpoint",
            type=click.Path(path_type=Path),
            help="State of the run, kept until the output is written; default: the output with .checkpoint.",
        ),
        click.option("--resume", is_flag=True, help="Go on from the checkpoint if there is one."),
    )


def checkpoint_settings(out: Path, checkpoint: Path | None, resume: bool) -> dict[str, str | None]:
    """These options as the texts of training options, of a run that writes ``out``."""
    kept = checkpoint or out.with_name(f"{out.name}.checkpoint")
    return {"checkpoint": str(kept), "resume": "true" if resume else None}
