"""Options that several commands share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from graphprune.cli.grouped import grouped
from graphprune.cli.image_options import image_options
from graphprune.cli.quantise_option import quantise_option
from graphprune.cli.text_options import text_options
from graphprune.cli.together import Command, together

DEFAULT_POINTS = ""
"""What ``--generate`` without a value stands for: those by default, shortened where the model is made for fewer."""


class Shape(click.ParamType[tuple[str, tuple[int, ...]]]):
    """``name:1x3x224x224``, ``1,3,224,224`` or ``name:[1,3,224,224]``; the name may be left out."""

    name = "NAME:SIZES"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(?:(.*):)?\[?([1-9]\d*(?:[x,]\s*[1-9]\d*)*)\]?", value)
        if match is None:
            self.fail(f"'{value}' is no shape; write name:1x3x224x224", param, ctx)
        return match[1] or "", tuple(int(size) for size in re.split(r"[x,]\s*", match[2]))


class Range(click.ParamType[tuple[str, tuple[float, float]]]):
    """``name:[low,high]`` or ``[low,high]``."""

    name = "NAME:[LOW,HIGH]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        number = r"-?\d+(?:\.\d*)?(?:[eE]-?\d+)?"
        match = re.fullmatch(rf"(?:(.*):)?\[?({number}),\s*({number})\]?", value)
        if match is None or float(match[2]) > float(match[3]):
            self.fail(f"'{value}' is no range; write name:[0,1]", param, ctx)
        return match[1] or "", (float(match[2]), float(match[3]))


class BatchAxis(click.ParamType[tuple[str, int | None]]):
    """``name=0``, or ``name=none`` where one array serves all samples of a run."""

    name = "NAME=K|none"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        name, _, axis = value.rpartition("=")
        if not name or not (axis == "none" or axis.isdecimal()):
            self.fail(f"'{value}' names no axis; write name=0, or name=none", param, ctx)
        return name, None if axis == "none" else int(axis)


class Align(click.ParamType[int | str]):
    """A positive number, or ``auto``."""

    name = "N|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, int) or value == "auto":
            return value
        if not value.isdecimal() or int(value) < 1:
            self.fail(f"'{value}' is neither a whole number of at least 1 nor auto", param, ctx)
        return int(value)


class Jobs(click.ParamType[int]):
    """A number of processes, or -1."""

    name = "N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, int) or re.fullmatch(r"-1|[1-9]\d*", value):
            return int(value)
        return self.fail(f"'{value}' is neither a whole number of at least 1 nor -1", param, ctx)


class Drawing(click.ParamType[Path]):
    """A file to draw into; SVG is the only format."""

    name = "FILE.svg"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = Path(value)
        if path.suffix.lower() != ".svg":
            self.fail(f"'{value}' does not end in .svg, the only format drawn", param, ctx)
        return path


class Repair(click.ParamType[Any]):
    """``none`` or repairs separated by commas."""

    name = "METHODS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from graphprune.errors import OptionError
        from graphprune.repair.stage import parse_methods

        try:
            return parse_methods(value)
        except OptionError as error:
            return self.fail(f"{error.message}; {error.fix}", param, ctx)


class Finetune(click.ParamType[Any]):
    """Training options ``key=value`` separated by commas."""

    name = "OPTIONS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from graphprune.errors import OptionError
        from graphprune.training import TrainOptions

        try:
            return TrainOptions.parse(value)
        except OptionError as error:
            return self.fail(f"{error.message}; {error.fix}", param, ctx)


class Heal(click.ParamType[Any]):
    """Steps, a time, ``auto`` or ``none``."""

    name = "STEPS|TIME|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from graphprune.errors import OptionError
        from graphprune.training import healing

        if not isinstance(value, str) or value == "none":
            return value
        try:
            return healing(value)
        except OptionError as error:
            return self.fail(f"{error.message}; {error.fix}", param, ctx)


class Points(click.ParamType[Any]):
    """``16:256,512:128``: lengths of prompt and generation."""

    name = "PROMPT:NEW,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from graphprune.errors import OptionError
        from graphprune.generation.points import parse_points

        if not isinstance(value, str) or value == DEFAULT_POINTS:
            return value
        try:
            return parse_points(value)
        except OptionError as error:
            return self.fail(f"{error.message}; {error.fix}", param, ctx)


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
            help=".npz, .npy, Polygraphy's .json, a folder of one of them, of test_data_set_* or of pictures, or "
            "script.py:function; for models of token ids .txt, .jsonl or dataset:NAME[:CONFIG:SPLIT].",
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
