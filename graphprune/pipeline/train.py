"""A network trained or healed, from the file to the file. The commands and the API end here."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import structs

from graphprune.errors import InputError, OptionError
from graphprune.ir import export, output_files
from graphprune.ir.loading import load
from graphprune.ir.model import Model
from graphprune.model_folder import layout, writing
from graphprune.model_folder.layout import ModelFolder
from graphprune.pipeline.rewound import rewound_by_plan
from graphprune.pipeline.training_energy import Meter, metered
from graphprune.run.inputs import input_layout
from graphprune.run.loaded import Source, check_source
from graphprune.run.options import RunOptions, given_options
from graphprune.text.corpus import is_text
from graphprune.text.source import ALL_BUT_HELD_OUT, HELD_OUT, WHOLE, Limit, open_data
from graphprune.training import TrainingReport, TrainOptions, checkpoint, healing
from graphprune.training import finetune as learn_from
from graphprune.training import train as learn
from graphprune.training.report import TrainingFile
from graphprune.training.rewind import rewound

if TYPE_CHECKING:
    import onnx

SaveReport = Callable[[TrainingReport], None]
"""Writes what belongs to the model just before it moves into place; if it fails, nothing stays."""


@dataclass(frozen=True, repr=False)
class Trained:
    """Outcome of :func:`graphprune.finetune` and :func:`graphprune.heal`: how it went, and the ``model``.

    ``output`` is the written file or folder, None where nothing was to stay.
    """

    source: str
    teacher: str | None
    output: Path | None
    report: TrainingReport
    model: Model

    def __repr__(self) -> str:
        """One line: the held-out loss before and after."""
        before, after = self.report.before.held_out_loss, self.report.after.held_out_loss
        where = f"on {self.report.held_out_samples:,} held-out samples"
        return f"Trained({self.source}: loss {before:.4f} -> {after:.4f} {where})"

    def to_onnx(self) -> onnx.ModelProto:
        """The model."""
        return export.to_proto(self.model)

    def module(self) -> Any:
        """The model as a trainable ``torch.fx.GraphModule``; see :func:`graphprune.torch_bridge.to_torch`."""
        from graphprune.torch_bridge import to_torch

        return to_torch(self.model)

    def document(self) -> TrainingFile:
        """The JSON document, which :meth:`to_json` writes."""
        output = str(self.output) if self.output else ""
        return TrainingFile(**structs.asdict(self.report), source=self.source, teacher=self.teacher, output=output)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary with a versioned ``schema``."""
        return self.document().to_dict()

    def to_json(self) -> str:
        return self.document().to_json()


def finetune(
    source: Source,
    data: Any,
    teacher: Source | None = None,
    output: str | os.PathLike[str] | None = None,
    *,
    training: TrainOptions | str | None = None,
    options: RunOptions | None = None,
    save: Callable[[Trained], None] | None = None,
) -> Trained:
    """Train a network with labels, towards the one it was pruned from (``teacher``), or both; the same as ``graphprune
    finetune SOURCE --teacher TEACHER --data DATA -o OUTPUT``.

    ``training`` is how, as an object or as the command writes it (``epochs=10,lr=0.01``). Of the ``options`` those on
    data count; ``evaluation`` are the samples to judge the epochs by. The best epoch is kept. Without ``output``
    nothing stays on disk.

    Raises
    ------
    GraphpruneError
        One of its subclasses; see :mod:`graphprune.errors`. No output is left behind, a checkpoint is.
    """
    how = training if isinstance(training, TrainOptions) else TrainOptions.parse(training or "")
    return carry_out(source, teacher, data, output, how, given_options(options), save)


def heal(
    source: Source,
    teacher: Source,
    data: Any,
    output: str | os.PathLike[str] | None = None,
    *,
    budget: str | int = "auto",
    training: str = "",
    options: RunOptions | None = None,
    save: Callable[[Trained], None] | None = None,
) -> Trained:
    """Train a pruned network on what the ``teacher`` computes, at the joins of its blocks and at the end, without
    labels; the same as ``graphprune heal SOURCE --teacher TEACHER --data DATA -o OUTPUT``.

    ``budget`` is a number of steps, a time such as ``10min``, or ``auto``: as long as the held-out loss falls. Else as
    :func:`finetune`, with the step kept whose outputs are nearest on held-out samples; the network as it came is one.

    Raises
    ------
    GraphpruneError
        As :func:`finetune`.
    """
    return carry_out(source, teacher, data, output, healing(budget, training), given_options(options), save)


def carry_out(
    source: Source,
    teacher: Source | None,
    data: Any,
    output: str | os.PathLike[str] | None,
    training: TrainOptions,
    options: RunOptions,
    save: Callable[[Trained], None] | None,
    *,
    keep: Collection[int] = (),
    weights: Path | None = None,
    plan: Path | None = None,
    meter: Meter | None = None,
) -> Trained:
    """Train ``source`` and write the ``output``; the checkpoint goes when that is there.

    The model after each epoch of ``keep`` is written beside it, see :func:`of_epoch`. ``weights`` is a file of the
    network it was pruned from, whose weights it starts with; cut by ``plan`` where units are gone. ``meter`` measures
    the energy of the training.

    Raises
    ------
    GraphpruneError
        One of its subclasses; no output is left, the checkpoint is.
    """
    check_source(source)
    if teacher is not None:
        check_source(teacher)
    if data is None:
        raise OptionError("training needs samples, and there are none", "add --data")
    said, kept = options.data, training.checkpoint
    folder = layout.find(Path(source)) if layout.is_folder(source) else None
    out = _destination(output, source, teacher, data, said.evaluation)
    if kept is not None and kept.exists() and not training.resume:
        raise InputError(
            f"the checkpoint {kept} of an earlier run is there", "add --resume to go on with it, or delete it"
        )
    options.progress("loading", 0, 0)
    pruned = load(_model_of(source))
    if weights is not None and plan is not None:
        pruned = rewound_by_plan(pruned, plan, weights, data, options)
    elif weights is not None:
        pruned = rewound(pruned, load(layout.model_file(weights)))
    if folder is None and out is not None:
        for path in (out, *(of_epoch(out, epoch) for epoch in keep)):
            output_files.spare_weights(path, pruned)
    dense = None if teacher is None else load(_model_of(teacher))
    batching = input_layout(pruned, said.batch_axes, {}, {}, options.runtime, needs_shapes=False).batching
    holds_out = said.holds_text_out and is_text(data)
    judged_on, share, rest = (data, HELD_OUT, ALL_BUT_HELD_OUT) if holds_out else (said.evaluation, WHOLE, WHOLE)
    how = (batching, said.text, said.images)
    limit: Limit = "auto" if is_text(judged_on) else None
    judged = None if judged_on is None else open_data(judged_on, pruned, limit, *how, share=share)
    samples = None if said.samples == "auto" else said.samples
    if samples is None and is_text(data):
        samples = training.chunks_needed(is_judged_apart=judged is not None)
    given = open_data(data, pruned, samples, *how, share=rest)
    epochs: dict[int, Model] = {}
    with metered(meter) as with_energy:
        if dense is None:
            trained, report, epochs = learn(pruned, given, training, options.progress, judged, keep)
        else:
            trained, report = learn_from(pruned, dense, given, training, options.progress, judged)
    report = with_energy(report)
    found = Trained(_named(source), None if teacher is None else _named(teacher), out, report, trained)
    if out is not None:
        with _place(out, folder) as path:
            export.write(trained, path)
            for epoch, earlier in epochs.items():
                export.write(earlier, of_epoch(path, epoch))
            if folder is not None:
                notes = (*report.notes, *writing.complete(path, folder, pruned, trained))
                found = replace(found, report=structs.replace(report, notes=notes))
            if save is not None:
                save(found)
    elif save is not None:
        save(found)
    if kept is not None:
        checkpoint.sweep(kept)
    return found


def of_epoch(path: Path, epoch: int) -> Path:
    """Where the weights after ``epoch`` lie of a training that wrote ``path``."""
    return path.with_name(f"{path.stem}.epoch{epoch}.onnx")


def _model_of(source: Source) -> Any:
    return layout.model_file(Path(source)) if isinstance(source, str | os.PathLike) else source


def _named(source: Source) -> str:
    return os.fspath(source) if isinstance(source, str | os.PathLike) else f"a {type(source).__name__}"


def _destination(output: str | os.PathLike[str] | None, source: Source, *reads: Any) -> Path | None:
    if output is None:
        return None
    if layout.is_folder(source):
        writing.check_output(Path(output), Path(source))
        return Path(output)
    return output_files.output_path(output, source, *reads)


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
