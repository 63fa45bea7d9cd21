"""What ``graphprune finetune`` does: load, train, write, show."""

from __future__ import annotations

import logging
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Self

import click
from msgspec import structs
from rich.console import Console
from rich.markup import escape

from graphprune.cli.show import Shown, check_outputs
from graphprune.errors import InputError
from graphprune.ir import export, output_files
from graphprune.ir.loading import load
from graphprune.ir.model import Model
from graphprune.report.terminal import print_notes
from graphprune.run.inputs import input_layout
from graphprune.runtime.sessions import RuntimeOptions
from graphprune.text.source import open_data
from graphprune.training import TrainingReport, TrainOptions, checkpoint, finetune
from graphprune.training import train as learn
from graphprune.training.report import TrainingFile
from graphprune.training.rewind import rewound
from graphprune.training.table import print_training


class Training(Shown):
    """Progress, tables and JSON of a training run."""

    def __init__(self, json_path: Path | None, quiet: bool, verbose: bool) -> None:
        super().__init__(json_path, quiet)
        self.json_path = json_path
        self._verbose = verbose
        logging.basicConfig(level=logging.INFO if verbose else logging.ERROR, stream=sys.stderr, format="%(message)s")

    def __enter__(self) -> Self:
        super().__enter__()
        return self

    def save_training(self, report: TrainingReport, source: Path, teacher: Path | None, output: Path) -> None:
        """Write the JSON file."""
        wrote = TrainingFile(
            **structs.asdict(report), source=str(source), teacher=str(teacher) if teacher else None, output=str(output)
        )
        self._write_json(wrote.to_json)

    def training(self, report: TrainingReport, *written: Path) -> None:
        """The tables, after the bar is gone."""
        self._bar.stop()
        if not self._quiet:
            print_notes(Console(stderr=True, highlight=False), report.notes)
        print_training(self._out, report, self._verbose)
        for path in written:
            self._out.print(f"wrote {escape(str(path))}", soft_wrap=True)


def train(
    model: Path,
    teacher: Path | None,
    data: str,
    batch_axes: Mapping[str, int | None],
    samples: int | None,
    evaluation: str | None,
    out: Path,
    options: TrainOptions,
    shown: Training,
    *,
    keep: Collection[int] = (),
    weights: Path | None = None,
) -> None:
    """Train ``model`` and write ``out``; the checkpoint goes when the output is there.

    The model after each epoch of ``keep`` is written beside it, see :func:`of_epoch`. ``weights`` is a file of the
    network it was pruned from, whose weights it starts with.

    Raises
    ------
    GraphpruneError
        One of its subclasses; no output is left, the checkpoint is.
    """
    kept = options.checkpoint
    assert kept is not None  # the command always names one
    check_outputs({"-o": out, "--json": shown.json_path, "--checkpoint": kept}, model, teacher, data, evaluation)
    if kept.exists() and not options.resume:
        raise InputError(
            f"the checkpoint {kept} of an earlier run is there", "add --resume to go on with it, or delete it"
        )
    shown.progress("loading", 0, 0)
    pruned = load(model) if weights is None else rewound(load(model), load(weights))
    written = (out, *(of_epoch(out, epoch) for epoch in keep))
    for path in (path for each in written for path in (each, each.with_name(each.name + ".data"))):
        output_files.check_output(path, pruned.files)
    dense = None if teacher is None else load(teacher)
    batching = input_layout(pruned, batch_axes, {}, {}, RuntimeOptions(), needs_shapes=False).batching
    judged = None if evaluation is None else open_data(evaluation, pruned, None, batching)
    samples_given = open_data(data, pruned, samples, batching)
    kept_epochs: dict[int, Model] = {}
    try:
        if dense is None:
            trained, report, kept_epochs = learn(pruned, samples_given, options, shown.progress, judged, keep)
        else:
            trained, report = finetune(pruned, dense, samples_given, options, shown.progress, judged)
    except KeyboardInterrupt:
        if kept.exists():
            click.echo(f"graphprune: the run so far is kept in {kept}; go on with --resume", err=True)
        raise
    with output_files.staged(out) as path:
        export.write(trained, path)
        for epoch, earlier in kept_epochs.items():
            export.write(earlier, of_epoch(path, epoch))
        shown.save_training(report, model, teacher, out)
    checkpoint.sweep(kept)
    shown.training(report, *written)


def of_epoch(path: Path, epoch: int) -> Path:
    """Where the weights after ``epoch`` lie of a training that wrote ``path``."""
    return path.with_name(f"{path.stem}.epoch{epoch}.onnx")
