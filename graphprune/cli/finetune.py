"""``graphprune finetune``: train a pruned network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from graphprune.cli.checkpoint_options import checkpoint_options, checkpoint_settings
from graphprune.cli.energy_options import energy_options, energy_settings
from graphprune.cli.grouped import GroupedCommand
from graphprune.cli.image_options import image_settings
from graphprune.cli.learning_options import further_options, learning_data_options
from graphprune.cli.options import model_argument, show_options
from graphprune.cli.text_options import text_settings


@click.command(cls=GroupedCommand)
@model_argument
@click.option("--teacher", type=click.Path(path_type=Path), help="The unpruned network, to come near to again.")
@learning_data_options("Training", "epochs")
@click.option("--epochs", metavar="N", help="How often to go through the data.  [default: 10]")
@click.option("--steps", metavar="N", help="So many steps instead of epochs.")
@click.option("--lr", metavar="RATE", help="Largest learning rate.  [default: auto]")
@click.option("--batch-size", "batch", metavar="N", help="Samples per step.  [default: 128, of text 16]")
@click.option("--lora", metavar="RANK", help="Train adapters of this rank beside dense layers, and merge them.")
@click.option("--recipe", metavar="NAME", help="Options as a paper gives them: amp.")
@further_options("schedule=step,distil=0.5")
@click.option(
    "-o",
    "--output",
    metavar="PATH",
    help="File to write, or a folder; default: MODEL with .tuned.onnx, a folder with .tuned.  Never MODEL itself.",
)
@energy_options
@checkpoint_options
@show_options
def finetune(
    model: Path,
    teacher: Path | None,
    data: str,
    batch_axes: tuple[tuple[str, int | None], ...],
    num_samples: int | None,
    evaluation: str | None,
    spec: str,
    output: str | None,
    checkpoint: Path | None,
    resume: bool,
    json_path: Path | None,
    quiet: bool,
    verbose: bool,
    **settings: Any,
) -> None:
    """Train MODEL with labels, or towards what it was pruned from.

    A language model, or its folder, learns the next tokens of text, and the
    unpruned network's expectation of them; a folder becomes a folder.

    Names, inputs, outputs and types stay; the best epoch on held-out samples is kept.
    A run that was killed goes on with
    --resume and ends with the same weights.

    \b
    graphprune finetune small/ --teacher llm/ --data corpus.txt --steps 200
      -o tuned/
    """
    from graphprune.cli.training import Training, named_output, train
    from graphprune.training import TrainOptions

    out = named_output(output, model)
    text = text_settings(settings)
    images, meter = image_settings(settings), energy_settings(settings)
    options = TrainOptions.parse(
        spec,
        **settings,
        **checkpoint_settings(out, checkpoint, resume),
    )
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
            meter=meter,
        )
