"""``graphprune grow``: more blocks."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from graphprune.cli.checkpoint_options import checkpoint_options, checkpoint_settings
from graphprune.cli.energy_options import energy_options, energy_settings
from graphprune.cli.grouped import GroupedCommand
from graphprune.cli.options import model_argument, show_options


@click.command(cls=GroupedCommand)
@model_argument
@click.option("--stage", type=click.IntRange(0), metavar="K", help="Add blocks to this stage, and train nothing.")
@click.option(
    "--blocks", type=click.IntRange(1), default=2, show_default=True, help="Blocks that a stage gets at a time."
)
@click.option(
    "--start",
    type=click.Choice(["fresh", "identity"]),
    default="fresh",
    show_default=True,
    help="Draw weights anew, or add blocks that at first change nothing.",
)
@click.option("--data", metavar="SOURCE", help="Labelled samples: .npz, .npy, a folder, script.py:function.")
@click.option("--num-samples", type=click.IntRange(1), help="Samples to use.  [default: all]")
@click.option("--eval", "evaluation", metavar="SOURCE", help="Samples to judge epochs by; default: a tenth of --data.")
@click.option("--iterations", type=click.IntRange(1), default=5, show_default=True, help="How often to grow at most.")
@click.option("--epochs", metavar="N", help="Epochs of every training.  [default: 10]")
@click.option("--lr", metavar="RATE", help="Learning rate at the start.  [default: auto]")
@click.option("--batch-size", "batch", metavar="N", help="Samples per step.  [default: 128]")
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of weights and of the trainings."
)
@click.option("--set", "spec", default="", metavar="KEY=VALUE,...", help="More training options.")
@click.option(
    "-o", "--output", metavar="PATH", help="File to write, or a folder; default: MODEL with .grown.onnx.  Never MODEL."
)
@click.option("--threads", type=click.IntRange(0), default=0, help="Threads of ONNX Runtime; 0 = every core allowed.")
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    metavar="FILE.html",
    help="Write the trajectory with pictures, one file that needs no network.",
)
@energy_options
@checkpoint_options
@show_options
def grow(
    model: Path,
    stage: int | None,
    blocks: int,
    start: Any,
    data: str | None,
    num_samples: int | None,
    evaluation: str | None,
    iterations: int,
    seed: int,
    spec: str,
    output: str | None,
    threads: int,
    report: Path | None,
    checkpoint: Path | None,
    resume: bool,
    json_path: Path | None,
    quiet: bool,
    verbose: bool,
    **settings: Any,
) -> None:
    """Add residual blocks to MODEL, where it gains by them.

    MODEL is trained, and so is a network with more blocks in every stage; the
    stages whose importance for the classes (mean VIP of the last join) rises
    keep them, and so on until none does. With --stage: only add the blocks.
    A run that was interrupted goes on with --resume.

    \b
    graphprune grow shallow.onnx --data train.npz --epochs 50 -o deep.onnx
    graphprune grow net.onnx --stage 1 --blocks 2 --start identity -o deeper.onnx
    """
    from graphprune.cli.show import check_outputs
    from graphprune.cli.show_growth import ShownGrowth
    from graphprune.ir.output_files import named_output
    from graphprune.pipeline import grow as growth
    from graphprune.run.options import RunOptions
    from graphprune.runtime.sessions import RuntimeOptions
    from graphprune.training import TrainOptions

    if stage is None and data is None:
        raise click.UsageError("nothing says where to grow: give --data with labels, or --stage")
    meter = energy_settings(settings)
    if stage is not None and meter is not None:
        raise click.UsageError("--energy is that of trainings, and with --stage nothing is trained")
    out = named_output(output, model, "grown")
    check_outputs({"-o": out, "--json": json_path, "--report": report}, model, data, evaluation)
    with ShownGrowth(json_path, quiet) as shown:
        options = RunOptions(
            runtime=RuntimeOptions(threads=threads),
            report=report,
            command=shlex.join(["graphprune", *sys.argv[1:]]),
            progress=shown.progress,
        )
        if stage is not None:
            found = growth.grow_stage(model, out, stage, blocks, start=start, seed=seed, data=data, options=options)
        else:
            learnt = {name: settings[name] for name in ("epochs", "lr", "batch")}
            learnt |= checkpoint_settings(out, checkpoint, resume)
            found = growth.grow(
                model,
                out,
                data,
                TrainOptions.parse(spec, **learnt, seed=str(seed)),
                iterations=iterations,
                blocks=blocks,
                start=start,
                seed=seed,
                evaluation=evaluation,
                samples=num_samples,
                options=options,
                meter=meter,
            )
    shown.growth(found, report)
