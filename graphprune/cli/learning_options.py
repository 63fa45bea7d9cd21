"""Options on what a network learns from: shared by the commands that train, and that heal."""

from __future__ import annotations

from collections.abc import Callable

import click

from graphprune.cli.image_options import image_options
from graphprune.cli.options import batch_axis_option
from graphprune.cli.text_options import text_options
from graphprune.cli.together import Command, together

Decorator = Callable[[Command], Command]


def learning_data_options(samples: str, judged: str) -> Decorator:
    """The ``samples`` to learn from, text and pictures too, and those that the epochs (``judged``) are judged by."""

    def added(command: Command) -> Command:
        return together(
            command,
            click.option(
                "--data",
                metavar="SOURCE",
                required=True,
                help=f"{samples} samples: .npz, .npy, a folder of them or of pictures, hf:NAME, "
                "torchvision:CLASS@FOLDER, script.py:function; text as .txt, .jsonl or dataset:NAME[:CONFIG:SPLIT].",
            ),
            text_options,
            image_options,
            batch_axis_option,
            click.option(
                "--num-samples",
                type=click.IntRange(1),
                help="Samples to use, of text chunks.  [default: all, of text with --steps what these need]",
            ),
            click.option(
                "--eval",
                "evaluation",
                metavar="SOURCE",
                help=f"Samples to judge the {judged} by, or text for the last tenth of a text; default: a tenth of "
                "--data.",
            ),
        )

    return added


def further_options(example: str) -> Decorator:
    """The seed, and options by their keys, such as ``example``."""

    def added(command: Command) -> Command:
        return together(
            command,
            click.option("--seed", metavar="N", help="Seed of everything random.  [default: 0]"),
            click.option(
                "--set",
                "spec",
                default="",
                metavar="KEY=VALUE,...",
                help=f"More options, e.g. {example}; a wrong key lists all.",
            ),
        )

    return added
