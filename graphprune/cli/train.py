"""``graphprune train``: train a network from the weights in its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from graphprune.cli.checkpoint_options import checkpoint_options, checkpoint_settings
from graphprune.cli.energy_options import energy_options, energy_settings
from graphprune.cli.grouped import GroupedCommand
from graphprune.cli.image_options import image_options, image_settings
from graphprune.cli.learning_options import further_options
from graphprune.cli.options import batch_axis_option, model_argument, show_options


@click.command(cls=GroupedCommand)
@model_argument
@click.option(
    "--data",
    metavar="SOURCE",
    required=True,
    help="Labelled samples: .npz, .npy, a folder of them, class folders of pictures, hf:NAME, "
    "torchvision:CLASS@FOLDER, or script.py:function.",
)
@image_options
@batch_axis_option
@click.option("--num-samples", type=click.IntRange(1), help="Samples to use.  [default: all]")
@click.option(
    "--eval", "evaluation", metavar="SOURCE", help="Samples to judge the epochs by; default: a tenth of --data."
)
@click.option("--epochs", metavar="N", help="How often to go through the data.  [default: 10]")
@click.option("--lr", metavar="RATE", help="Learning rate at the start.  [default: auto]")
@click.option("--batch-size", "batch", metavar="N", help="Samples per step.  [default: 128]")
@further_options("schedule=step,augment=none")
@click.option(
    "--keep",
    multiple=True,
    type=click.IntRange(0),
    metavar="EPOCH",
    help="Keep the weights after this epoch, too, beside the output (NAME.epochN.onnx); repeatable.",
)
@click.option(
    "--rewind",
    type=click.IntRange(0),
    metavar="EPOCH",
    help="Start with the weights that --of kept of this epoch, and go on as it did: --epochs counts all of them.",
)
@click.option("--of", "dense", type=click.Path(path_type=Path), help="The output of the unpruned network's training.")
@click.option(
    "--plan",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The plan that MODEL was pruned by: with --rewind, where filters or other units went, not blocks alone.",
)
@click.option(
    "-o",
    "--output",
    metavar="PATH",
    help="File to write, or a folder; default: MODEL with .trained.onnx.  Never MODEL itself.",
)
@energy_options
@checkpoint_options
@show_options
def train(
    model: Path,
    data: str,
    batch_axes: tuple[tuple[str, int | None], ...],
    num_samples: int | None,
    evaluation: str | None,
    spec: str,
    keep: tuple[int, ...],
    rewind: int | None,
    dense: Path | None,
    plan: Path | None,
    output: str | None,
    checkpoint: Path | None,
    resume: bool,
    json_path: Path | None,
    quiet: bool,
    verbose: bool,
    **settings: Any,
) -> None:
    """Train MODEL with labels, from the weights in its file.

    The best epoch on held-out samples is kept. A pruned network can be rewound:
    it starts with what the unpruned one had learnt by an epoch.

    \b
    graphprune init net.onnx --seed 1 -o fresh.onnx
    graphprune train fresh.onnx --data train.npz --epochs 100 --keep 25
      -o dense.onnx
    graphprune dense.onnx --pass layer-kl --target removed=2 --data train.npz
      -o small.onnx
    graphprune train small.onnx --rewind 25 --of dense.onnx --epochs 100
      --data train.npz
    graphprune train thin.onnx --rewind 25 --of dense.onnx --plan thin.json
      --epochs 100 --data train.npz
    """
    from graphprune.cli.training import Training
    from graphprune.cli.training import train as run_train
    from graphprune.ir.output_files import named_output
    from graphprune.pipeline.train import of_epoch
    from graphprune.text.options import TextOptions
    from graphprune.training import TrainOptions

    if (rewind is None) != (dense is None):
        raise click.UsageError("--rewind and --of belong together: which epoch, and of which training")
    if plan is not None and rewind is None:
        raise click.UsageError("--plan is for --rewind: it says how --of was pruned")
    images, meter = image_settings(settings), energy_settings(settings)
    out = named_output(output, model, "trained")
    options = TrainOptions.parse(
        spec,
        **settings,
        rewound=None if rewind is None else str(rewind),
        **checkpoint_settings(out, checkpoint, resume),
    )
    weights = None if rewind is None or dense is None else of_epoch(dense, rewind)
    if weights is not None and not weights.is_file():
        raise click.UsageError(f"there is no {weights}: train {dense} with --keep {rewind} first")
    with Training(json_path, quiet, verbose) as shown:
        run_train(
            model,
            None,
            data,
            dict(batch_axes),
            num_samples,
            evaluation,
            str(out),
            options,
            TextOptions(),
            images,
            shown,
            keep=tuple(dict.fromkeys(keep)),
            weights=weights,
            plan=plan,
            meter=meter,
        )
