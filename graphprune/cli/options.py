"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

from graphprune.cli.grouped import grouped
from graphprune.cli.image_options import image_options
from graphprune.cli.option_types import DEFAULT_POINTS, BatchAxis, Finetune, Heal, Jobs, Points, Range, Repair, Shape
from graphprune.cli.quantise_option import quantise_option
from graphprune.cli.text_options import text_options
from graphprune.cli.together import Command, together


def model_argument(command: Command) -> Command:
    """MODEL, read but never changed."""
    return click.argument("model", type=click.Path(path_type=Path))(command)


@grouped("Output")
def output_options(command: Command) -> Command:
    """Where the result goes, whether it may, and the report on it."""
    return together(
        command,
        click.option(
            "-o",
            "--output",
            metavar="PATH",
            help="File to write, or a folder; default: MODEL with .pruned.onnx.  Never MODEL itself.",
        ),
        click.option(
            "--allow-slower", is_flag=True, help="Write a result that is not measured faster; else exit code 4."
        ),
        click.option(
            "--report",
            type=click.Path(path_type=Path),
            metavar="FILE.html",
            help="Write a report with pictures, one file that needs no network.",
        ),
        quantise_option,
    )


@grouped("Judging")
def evaluation_options(command: Command) -> Command:
    """What the result is judged by."""
    return together(
        command,
        click.option(
            "--eval",
            "evaluation",
            metavar="SOURCE",
            help="Held-out data: top-1 with labels; of text perplexity, agreement and KL; else agreement of class "
            "scores, or the error of each output.  text: the last tenth of the text in --data; held-out: of any --data "
            "a part that nothing else sees.",
        ),
        click.option(
            "--metric",
            metavar="SCRIPT.py:FUNCTION",
            help="Judge by your own function: it gets (outputs, samples) batch by batch, and returns a number.",
        ),
    )


@grouped("Output")
def between_options(command: Command) -> Command:
    """What is done between passes."""
    return together(
        command,
        click.option(
            "--dump-passes",
            "dump_folder",
            type=click.Path(file_okay=False, path_type=Path),
            metavar="FOLDER",
            help="Write the network after each decision of a pass here, before any repair.",
        ),
    )


@grouped("Repair and training")
def recovery_options(command: Command) -> Command:
    """What follows a removal."""
    return together(
        command,
        click.option(
            "--repair",
            type=Repair(),
            help="none, stats, ridge, stats,ridge or walk (only the readers of what went): refit what is left to "
            "samples, without training. Default: stats,ridge where there is data, walk where filter-obs walks; for a "
            "plan what it says.",
        ),
        click.option(
            "--finetune",
            type=Finetune(),
            help="Train after each pass, e.g. epochs=10,lr=0.01; the options are those of graphprune finetune.",
        ),
        click.option(
            "--finetune-every",
            type=click.Choice(["pass", "removal"]),
            default="pass",
            show_default=True,
            help="removal: after each block, or each tenth of the units.",
        ),
        click.option("--train-data", metavar="SOURCE", help="What to train on; default: all of --data."),
        click.option(
            "--heal",
            type=Heal(),
            help="After the repair train without labels towards what the unpruned network computes, inside and at its "
            "outputs: 400 steps, 10min, or auto: while the held-out loss falls. More options behind it: "
            "400,lr=1e-4. Default: none; for a plan what it says.",
        ),
        click.option("--heal-data", metavar="SOURCE", help="What to heal on; default: all of --data."),
    )


def batch_axis_option(command: Command) -> Command:
    """Which axis of an input counts samples."""
    return click.option(
        "--input-batch-axis",
        "batch_axes",
        type=BatchAxis(),
        multiple=True,
        help="Which axis of an input counts samples, where it is not found; repeatable.",
    )(command)


@grouped("Samples")
def data_options(command: Command) -> Command:
    """Where samples come from."""
    return together(
        command,
        click.option(
            "--data",
            metavar="SOURCE",
            help=".npz, .npy, Polygraphy's .json, a folder of one of them, of test_data_set_* or of pictures, "
            "script.py:function; hf:NAME[:SPLIT] or torchvision:CLASS@FOLDER[:SPLIT] for pictures; for models "
            "of token ids .txt, .jsonl or dataset:NAME[:CONFIG:SPLIT].",
        ),
        click.option(
            "--num-samples",
            "samples",
            type=click.IntRange(1),
            help="Samples to use, of text chunks.  [default: 512; of text 32,768 tokens]",
        ),
        text_options,
        image_options,
        batch_axis_option,
        click.option("--require-data", is_flag=True, help="Fail instead of making up inputs."),
        click.option(
            "--allow-made-up-data",
            "allow_made_up",
            is_flag=True,
            help="Score on made-up inputs where there is no data.",
        ),
        click.option("--input-shapes", "shapes", type=Shape(), multiple=True, help="Sizes of made-up inputs."),
        click.option("--val-range", "ranges", type=Range(), multiple=True, help="Value range of made-up inputs."),
        click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of everything random."),
    )


@grouped("Running and timing")
def runtime_options(command: Command) -> Command:
    """How models are run and timed."""
    return together(
        command,
        click.option("--provider", "--providers", default="cpu", show_default=True, help="cpu, cuda[:i], trt[:i] ..."),
        click.option("--threads", type=click.IntRange(0), default=0, help="Threads; 0 = every core allowed."),
        click.option(
            "--batch-size",
            "score_batch",
            type=click.IntRange(1),
            help="Samples per run when scoring and validating.  [default: 32; of text 2]",
        ),
        click.option("--batch", type=click.IntRange(1), default=1, show_default=True, help="Batch size of the timing."),
        click.option(
            "--duration",
            type=click.FloatRange(0.0),
            default=2.0,
            show_default=True,
            help="Seconds of timing, at least 30 runs of each model.",
        ),
        click.option("--no-bench", is_flag=True, help="Do not time."),
    )


@grouped("What to time")
def bench_options(command: Command) -> Command:
    """What models are timed on, and at what."""
    return together(
        command,
        click.option(
            "--generate",
            type=Points(),
            is_flag=False,
            flag_value=DEFAULT_POINTS,
            help="Time decoders with a cache, files or folders, as they generate: first token, time per token, "
            "tokens/s, peak memory. Default points: 16:256,512:128. Runtimes: ort, genai.",
        ),
        click.option(
            "--runtime",
            "runtimes",
            multiple=True,
            default=("ort",),
            show_default=True,
            metavar="NAME[:PLACE]",
            help="Runtime to time on; repeatable, for one table of several.",
        ),
        click.option(
            "--precision",
            type=click.Choice(["fp32", "bf16", "fp16"]),
            default="fp32",
            show_default=True,
            help="What torch converts to; the others compute in the types of the file.",
        ),
        click.option(
            "--cuda-graph", is_flag=True, help="Let ONNX Runtime (cuda, trt) and TensorRT replay CUDA graphs."
        ),
    )


@grouped("Who scores")
def worker_options(command: Command) -> Command:
    """Who scores."""
    return together(
        command,
        click.option(
            "--jobs",
            type=Jobs(),
            help="Score in N processes; -1: one per core. Default 1, with --backend all that the cluster can take.",
        ),
        click.option("--backend", type=click.Choice(["dask", "ray"]), help="Score on a cluster that is already there."),
        click.option(
            "--cluster", metavar="ADDRESS", help="Its address; default: DASK_SCHEDULER_ADDRESS or RAY_ADDRESS."
        ),
    )


@grouped("Running and timing")
def cache_options(command: Command) -> Command:
    """Where the times that latency targets need are kept."""
    return together(
        command,
        click.option(
            "--cache-dir",
            type=click.Path(file_okay=False, path_type=Path),
            help="Keep measured times of layers here; default: GRAPHPRUNE_CACHE or the user's cache.",
        ),
        click.option("--no-cache", is_flag=True, help="Measure anew, keep nothing."),
    )


@grouped("What is printed")
def show_options(command: Command) -> Command:
    """What is printed."""
    return together(
        command,
        click.option(
            "--json",
            "json_path",
            type=click.Path(path_type=Path, allow_dash=True),
            help="Write the result as JSON; - is stdout, the table then goes to stderr.",
        ),
        click.option("-q", "--quiet", is_flag=True, help="No progress, no notes."),
        click.option("-v", "--verbose", is_flag=True, help="Details; tracebacks of internal errors."),
    )
