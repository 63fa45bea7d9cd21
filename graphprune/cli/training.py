"""What ``graphprune finetune`` does: load, train, write, show."""

from __future__ import annotations

import logging
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import click
from msgspec import structs
from rich.console import Console
from rich.markup import escape

from graphprune.cli.show import Shown, checked_output
from graphprune.data.image_options import ImageOptions
from graphprune.errors import InputError
from graphprune.ir import export, output_files
from graphprune.ir.loading import load
from graphprune.ir.model import Model
from graphprune.model_folder import layout, writing
from graphprune.model_folder.layout import ModelFolder
from graphprune.pipeline.rewound import rewound_by_plan
from graphprune.pipeline.training_energy import Meter, metered
from graphprune.report.terminal import print_notes
from graphprune.run.inputs import input_layout
from graphprune.run.options import HELD_OUT_TEXT, DataOptions, RunOptions
from graphprune.runtime.sessions import RuntimeOptions
from graphprune.text.corpus import is_text
from graphprune.text.options import TextOptions
from graphprune.text.source import ALL_BUT_HELD_OUT, HELD_OUT, WHOLE, Limit, open_data
from graphprune.training import TrainingReport, TrainOptions, checkpoint, finetune
from graphprune.training import train as learn
from graphprune.training.report import TrainingFile
from graphprune.training.rewind import rewound
from graphprune.training.table import print_training

_SUFFIX = "tuned"


def named_output(output: str | None, model: Path) -> Path:
    """The file or folder to write: as named, or MODEL with ``tuned`` in its name."""
    name = writing.named_output if layout.is_folder(model) else output_files.named_output
    return name(output, model, _SUFFIX)


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
) -> None:
    """Train ``model`` and write the ``output``; the checkpoint goes when that is there.

    The model after each epoch of ``keep`` is written beside it, see :func:`of_epoch`. ``weights`` is a file of the
    network it was pruned from, whose weights it starts with; cut by ``plan`` where units are gone. ``meter`` measures
    the energy of the training.

    Raises
    ------
    GraphpruneError
        One of its subclasses; no output is left, the checkpoint is.
    """
    kept = options.checkpoint
    assert kept is not None  # the command always names one
    beside = {"--json": shown.json_path, "--checkpoint": kept}
    out = checked_output(output, model, beside, teacher, data, evaluation, suffix=_SUFFIX)
    folder = layout.find(model) if layout.is_folder(model) else None
    if kept.exists() and not options.resume:
        raise InputError(
            f"the checkpoint {kept} of an earlier run is there", "add --resume to go on with it, or delete it"
        )
    shown.progress("loading", 0, 0)
    pruned = load(layout.model_file(model))
    if weights is not None and plan is not None:
        pruned = rewound_by_plan(pruned, plan, weights, data, RunOptions(data=DataOptions(images=images, text=text)))
    elif weights is not None:
        pruned = rewound(pruned, load(layout.model_file(weights)))
    written = (out, *(of_epoch(out, epoch) for epoch in keep))
    if folder is None:
        for path in written:
            output_files.spare_weights(path, pruned)
    dense = None if teacher is None else load(layout.model_file(teacher))
    batching = input_layout(pruned, batch_axes, {}, {}, RuntimeOptions(), needs_shapes=False).batching
    holds_out = evaluation == HELD_OUT_TEXT and is_text(data)
    source, share, rest = (data, HELD_OUT, ALL_BUT_HELD_OUT) if holds_out else (evaluation, WHOLE, WHOLE)
    limit: Limit = "auto" if is_text(source) else None
    judged = None if source is None else open_data(source, pruned, limit, batching, text, images, share=share)
    if samples is None and is_text(data):
        samples = options.chunks_needed(is_judged_apart=judged is not None)
    samples_given = open_data(data, pruned, samples, batching, text, images, share=rest)
    kept_epochs: dict[int, Model] = {}
    try:
        with metered(meter) as with_energy:
            if dense is None:
                trained, report, kept_epochs = learn(pruned, samples_given, options, shown.progress, judged, keep)
            else:
                trained, report = finetune(pruned, dense, samples_given, options, shown.progress, judged)
        report = with_energy(report)
    except KeyboardInterrupt:
        if kept.exists():
            click.echo(f"graphprune: the run so far is kept in {kept}; go on with --resume", err=True)
        raise
    with _place(out, folder) as path:
        export.write(trained, path)
        for epoch, earlier in kept_epochs.items():
            export.write(earlier, of_epoch(path, epoch))
        if folder is not None:
            report = structs.replace(report, notes=(*report.notes, *writing.complete(path, folder, pruned, trained)))
        shown.save_training(report, model, teacher, out)
    checkpoint.sweep(kept)
    shown.training(report, *written)


def of_epoch(path: Path, epoch: int) -> Path:
    """Where the weights after ``epoch`` lie of a training that wrote ``path``."""
    return path.with_name(f"{path.stem}.epoch{epoch}.onnx")


@contextmanager
def _place(out: Path, folder: ModelFolder | None) -> Iterator[Path]:
    """Where to write the model: all that is beside it moves into place with it if the block ends well."""
    if folder is None:
        with output_files.staged(out) as path:
            yield path
        return
    with writing.staged_folder(out) as stage:
        path = stage / folder.model
        path.parent.mkdir(parents=True, exist_ok=True)
        yield path
