"""``graphprune init``: fresh weights."""

from __future__ import annotations

from pathlib import Path

import click

from graphprune.cli.grouped import GroupedCommand
from graphprune.cli.options import model_argument


@click.command(cls=GroupedCommand)
@model_argument
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of all weights.")
@click.option(
    "-o",
    "--output",
    metavar="PATH",
    help="File to write, or a folder; default: MODEL with .fresh.onnx.  Never MODEL itself.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
def init(model: Path, seed: int, output: str | None, quiet: bool) -> None:
    """Give MODEL fresh weights, as before any training.

    The file keeps the seed. Weights by He where a rectifier follows, else by Xavier; norms and biases
    as they begin. A layer's numbers follow from the seed and its name: what is
    pruned before and what is pruned afterwards start alike.
    """
    from graphprune.ir.output_files import named_output
    from graphprune.pipeline.initialise import initialise

    out = named_output(output, model, "fresh")
    counts, notes = initialise(model, seed, out)
    if not quiet:
        for note in notes:
            click.echo(f"note: {note}", err=True)
        listed = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
        click.echo(f"drew with seed {seed}: {listed}\nwrote {out}")
