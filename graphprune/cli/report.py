"""``graphprune report``: the page of a run made again from its result file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from graphprune.cli.grouped import GroupedCommand
from graphprune.cli.options import data_options, runtime_options


@click.command(cls=GroupedCommand)
@click.argument("result", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE.html",
    help="The page to write; default: RESULT with .html.",
)
@click.option("--model", type=click.Path(path_type=Path), help="The model, where it is not at the path in RESULT.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
@data_options
@runtime_options
def report(result: Path, output: Path | None, model: Path | None, quiet: bool, **settings: Any) -> None:
    """Make the HTML page of a run again, from what --json wrote.

    The network is read anew, nothing is timed or judged again. How alike blocks
    are takes --data.
    """
    from graphprune.cli.show import Shown, run_options
    from graphprune.pipeline.report_again import report_again

    out = output or result.with_suffix(".html")
    with Shown(None, quiet) as shown:
        options = run_options({**settings, "verbose": False}, None, shown)
        report_again(result, out, model, settings["data"], options=options)
    if not quiet:
        click.echo(f"wrote {out}")
