"""``graphprune heal``: bring a pruned network back to what it computed, without labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from graphprune.cli.checkpoint_options import checkpoint_options, checkpoint_settings
from graphprune.cli.grouped import GroupedCommand
from graphprune.cli.image_options import image_options, image_settings
from graphprune.cli.options import batch_axis_option, model_argument, show_options
from graphprune.cli.text_options import text_options

_SUFFIX = "healed"


@click.command(cls=GroupedCommand)
@model_argument
@click.option("--teacher", type=click.Path(path_type=Path), required=True, help="The unpruned network.")
@click.option(
    "--data",
    metavar="SOURCE",
    required=True,
    help="Unlabelled samples: .npz, .npy, a folder of them or of pictures, script.py:function; text as .txt, .jsonl or "
    "dataset:NAME[:CONFIG:SPLIT].",
)
@text_options
@image_options
@batch_axis_option
@click.option(
    "--num-samples",
    type=click.IntRange(1),
    help="Samples to use, of text chunks.  [default: all, of text with --steps what these need]",
)
@click.option(
    "--eval",
    "evaluation",
    metavar="SOURCE",
    help="Samples to judge the steps by, or text for the last tenth of a text; default: a tenth of --data.",
)
@click.option("--steps", "--heal-steps", "steps", type=click.IntRange(1), metavar="N", help="So many steps.")
@click.option(
    "--time", "duration", metavar="TIME", help="So long, e.g. 90s, 10min.  [default: while the held-out loss falls]"
)
@click.option("--lr", metavar="RATE", help="Largest learning rate.  [default: the largest that short trials bear]")
@click.option("--batch-size", "batch", metavar="N", help="Samples per step.  [default: 64, of text 16]")
@click.option("--seed", metavar="N", help="Seed of everything random.  [default: 0]")
@click.option(
    "--set",
    "spec",
    default="",
    metavar="KEY=VALUE,...",
    help="More options, e.g. junctions=0,augment=none; a wrong key lists all.",
)
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
    """Bring MODEL back to what the network computes that it was pruned from, without labels.

    Some hundred steps towards what the unpruned network has at the joins of its
    blocks and at its outputs. The best step on held-out samples is kept; MODEL
    as it came is one. A run that was killed goes on with --resume.

    \b
    graphprune heal small.onnx --teacher net.onnx --data images.npz --time 10min
    """
    from graphprune.cli.show import text_settings
    from graphprune.cli.training import Training, named_output, train
    from graphprune.training import healing

    if steps is not None and duration is not None:
        raise click.UsageError("--steps and --time: give one of them")
    out = named_output(output, model, _SUFFIX)
    text = text_settings({name: settings.pop(name) for name in ("tokenizer", "chunk_tokens", "text_field")})
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
