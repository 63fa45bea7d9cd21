"""Options on how much may be lost."""

from __future__ import annotations

import click

from graphprune.cli.grouped import grouped
from graphprune.cli.together import Command, together


@grouped("What goes")
def budget_options(command: Command) -> Command:
    """What the result may lose."""
    return together(
        command,
        click.option(
            "--max-drop",
            metavar="SHARE",
            help="The most that may be lost on held-out samples, e.g. 1%: points of top-1 or agreement, error of the "
            "outputs, rise of the perplexity, fall of --metric. Without --target: the largest cut that keeps within. "
            "Judged on --eval, else on samples of --data that nothing else sees then.",
        ),
        click.option(
            "--drop-by",
            type=click.Choice(["interval", "estimate"]),
            default="interval",
            show_default=True,
            help="What must keep within --max-drop: the upper end of the 95 % interval, or the estimate alone.",
        ),
        click.option(
            "--candidates",
            type=click.IntRange(2),
            metavar="N",
            help="N results in even steps up to --target (default: flops=0.5), from one scoring: a table, the front, "
            "a file with its plan for each. Targets can be listed instead: --target flops=0.8,0.6,0.5.",
        ),
    )
