"""``graphprune finetune``: train a pruned network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from graphprune.cli.options import batch_axis_option, model_argument, show_options


@click.command()
@model_argument
@click.option("--teacher", type=click.Path(path_type=Path), help="The unpruned network, to come near to again.")
@click.option(
    "--data",
    metavar="SOURCE",
    required=True,
    help="Training samples: .npz, .npy, a folder of them, or script.py:function.",
)
@batch_axis_option
@click.option("--num-samples", type=click.IntRange(1), help="Samples to use.  [default: all]")
@click.option(
    "--eval", "evaluation", metavar="SOURCE", help="Samples to judge the epochs by; default: a tenth of --data."
)
@click.option("--epochs", metavar="N", help="How often to go through the data.  [default: 10]")
@click.option("--lr", metavar="RATE", help="Learning rate at the start.  [default: auto]")
@click.option("--batch-size", "batch", metavar="N", help="Samples per step.  [default: 128]")
@click.option("--lora", metavar="RANK", help="Train adapters of this rank beside dense layers, and merge them.")
@click.option("--seed", metavar="N", help="Seed of everything random.  [default: 0]")
@click.option(
    "--set",
    "spec",
    default="",
    metavar="KEY=VALUE,...",
    help="More options, e.g. schedule=step,distil=0.5; a wrong key lists all.",
)
@click.option(
    "-o",
    "--output",
    metavar="PATH",
    help="File to write, or a folder; default: MODEL with .tuned.onnx.  Never MODEL itself.",
)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    help="State of the run, kept until the output is written; default: the output with .checkpoint.",
)
@click.option("--resume", is_flag=True, help="Go on from the checkpoint if there is one.")
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
    """Train MODEL with labels, and towards the outputs of the network it was pruned from.

    Names, inputs, outputs and types stay; the best epoch on held-out samples is kept.
    A run that was killed goes on with
    --resume and ends with the same weights.
    """
    from graphprune.cli.training import Training, train
    from graphprune.ir.output_files import named_output
    from graphprune.training import TrainOptions

    out = named_output(output, model, "tuned")
    options = TrainOptions.parse(
        spec,
        **settings,
        checkpoint=str(checkpoint or out.with_name(f"{out.name}.checkpoint")),
        resume="true" if resume else None,
    )
    with Training(json_path, quiet, verbose) as shown:
        train(model, teacher, data, dict(batch_axes), num_samples, evaluation, out, options, shown)
