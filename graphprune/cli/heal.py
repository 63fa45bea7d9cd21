"""``graphprune heal``: bring a pruned network back to what it computed, without labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from graphprune.cli.checkpoint_options import checkpoint_options, checkpoint_settings
from graphprune.cli.grouped import GroupedCommand
from graphprune.cli.image_options import image_settings
from graphprune.cli.learning_options import further_options, learning_data_options
from graphprune.cli.options import model_argument, show_options
from graphprune.cli.text_options import text_settings

_SUFFIX = "healed"


@click.command(cls=GroupedCommand)
@model_argument
@click.option("--teacher", type=click.Path(path_type=Path), required=True, help="The unpruned network.")
@learning_data_options("Unlabelled", "steps")
@click.option("--steps", "--heal-steps", "steps", type=click.IntRange(1), metavar="N", help="So many steps.")
@click.option(
    "--time", "duration", metavar="TIME", help="So long, e.g. 90s, 10min.  [default: while the held-out loss falls]"
)
@click.option("--lr", metavar="RATE", help="Largest learning rate.  [default: the largest that short trials bear]")
@click.option("--batch-size", "batch", metavar="N", help="Samples per step.  [default: 64, of text 16]")
@further_options("junctions=0,augment=none")
@click.option(
    "-o",
    "--output",
    metavar="PATH",
    help="File to write, or a folder; default: MODEL with .healed.onnx, a folder with .healed.  Never MODEL itself.",
)
@checkpoint_options
@show_options
def heal(
    model: Path,
    teacher: Path,
    data: str,
    batch_axes: tuple[tuple[str, int | None], ...],
    num_samples: int | None,
    evaluation: str | None,
    steps: int | None,
    duration: str | None,
    spec: str,
    output: str | None,
    checkpoint: Path | None,
    resume: bool,
    json_path: Path | None,
    quiet: bool,
    verbose: bool,
    **settings: Any,
) -> None:
    """Train MODEL towards what it was pruned from, without labels.

    Some hundred steps towards what the unpruned network has at the joins of its
    blocks and at its outputs. The best step on held-out samples is kept; MODEL
    as it came is one. A run that was killed goes on with --resume.

    \b
    graphprune heal small.onnx --teacher net.onnx --data images.npz --time 10min
    """
    from graphprune.cli.training import Training, named_output, train
    from graphprune.training import healing

    if steps is not None and duration is not None:
        raise click.UsageError("--steps and --time: give one of them")
    out = named_output(output, model, _SUFFIX)
    text = text_settings(settings)
    images = image_settings(settings)
    options = healing(duration or steps or "auto", spec, **settings, **checkpoint_settings(out, checkpoint, resume))
    with Training(json_path, quiet, verbose) as shown:
        train(
            model,
            teacher,
            data,
            dict(batch_axes),
            num_samples,
            evaluation,
            output,
            options,
            text,
            images,
            shown,
            suffix=_SUFFIX,
        )
