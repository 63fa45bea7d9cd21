"""What ``graphprune finetune`` does: load, train, write, show."""

from __future__ import annotations

import logging
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Self

import click
from rich.console import Console
from rich.markup import escape

from graphprune.cli.show import Shown, checked_output
from graphprune.data.image_options import ImageOptions
from graphprune.ir import output_files
from graphprune.model_folder import layout, writing
from graphprune.pipeline.train import Trained, carry_out, of_epoch
from graphprune.pipeline.training_energy import Meter
from graphprune.report.terminal import print_notes
from graphprune.run.options import DataOptions, RunOptions
from graphprune.text.options import TextOptions
from graphprune.training import TrainingReport, TrainOptions
from graphprune.training.table import print_training

TUNED = "tuned"


def named_output(output: str | None, model: Path, suffix: str = TUNED) -> Path:
    """The file or folder to write: as named, or MODEL with the ``suffix`` in its name."""
    name = writing.named_output if layout.is_folder(model) else output_files.named_output
    return name(output, model, suffix)


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

    def save_training(self, trained: Trained) -> None:
        """Write the JSON file."""
        self._write_json(trained.to_json)

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
    output: str | None,
    options: TrainOptions,
    text: TextOptions,
    images: ImageOptions,
    shown: Training,
    *,
    keep: Collection[int] = (),
    weights: Path | None = None,
    plan: Path | None = None,
    meter: Meter | None = None,
    suffix: str = TUNED,
) -> None:
    """Train ``model``, write the ``output`` and show how it went; see :func:`graphprune.pipeline.train.carry_out`.

    Raises
    ------
    GraphpruneError
        One of its subclasses; no output is left, the checkpoint is.
    """
    kept = options.checkpoint
    assert kept is not None  # the command always names one
    beside = {"--json": shown.json_path, "--checkpoint": kept}
    out = checked_output(output, model, beside, teacher, data, evaluation, suffix=suffix)
    about = DataOptions(
        samples=samples or "auto", evaluation=evaluation, batch_axes=dict(batch_axes), text=text, images=images
    )
    how = RunOptions(data=about, progress=shown.progress)
    try:
        found = carry_out(
            model,
            teacher,
            data,
            out,
            options,
            how,
            shown.save_training,
            keep=keep,
            weights=weights,
            plan=plan,
            meter=meter,
        )
    except KeyboardInterrupt:
        if kept.exists():
            click.echo(f"graphprune: the run so far is kept in {kept}; go on with --resume", err=True)
        raise
    shown.training(found.report, out, *(of_epoch(out, epoch) for epoch in keep))
