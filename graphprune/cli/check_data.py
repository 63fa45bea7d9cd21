"""``graphprune check-data``: do calibration, training and evaluation share samples?"""

from __future__ import annotations

from pathlib import Path

import click

from graphprune.cli.grouped import GroupedCommand
from graphprune.cli.options import show_options


@click.command("check-data", cls=GroupedCommand)
@click.option(
    "--data",
    metavar="SOURCE",
    help="Calibration samples: .npz, .npy, folders of them or of pictures, script.py:function.",
)
@click.option("--train-data", metavar="SOURCE", help="Samples to train on.")
@click.option("--eval", "evaluation", metavar="SOURCE", help="Samples the network is judged by.")
@click.option("--num-samples", type=click.IntRange(1), help="Samples to read of each set.  [default: all]")
@click.option("--strict", is_flag=True, help="Exit with 1 if any two sets share samples.")
@show_options
def check_data(
    data: str | None,
    train_data: str | None,
    evaluation: str | None,
    num_samples: int | None,
    strict: bool,
    json_path: Path | None,
    quiet: bool,
    verbose: bool,
) -> None:
    """Tell what calibration, training and evaluation data share.

    Samples that are equal; windows of sensors or text that share half their
    time with another; images that look the same from afar. Give two or three.

    \b
    graphprune check-data --data calib.npz --eval test.npz
    """
    from graphprune.cli.show import check_outputs
    from graphprune.cli.show_data_check import ShownDataCheck
    from graphprune.errors import DataError
    from graphprune.pipeline.check_data import check_data as run_check

    given = {"calibration": data, "training": train_data, "evaluation": evaluation}
    named = {role: source for role, source in given.items() if source is not None}
    if len(named) < 2:
        raise click.UsageError("nothing to compare: give two of --data, --train-data and --eval")
    check_outputs({"--json": json_path}, *named.values())
    with ShownDataCheck(json_path, quiet) as shown:
        found = run_check(named, num_samples)
    shown.check(found)
    if strict and not found.is_clean:
        raise DataError("the sets share samples", "take them out of the set they are judged by")
