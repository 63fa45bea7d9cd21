"""One call from a pruned model to a trained one."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from graphprune.base import extras
from graphprune.data.batching import Batch
from graphprune.data.dataset import Data
from graphprune.errors import DataError, OptionError
from graphprune.ir.model import Model
from graphprune.training import checkpoint
from graphprune.training.augment import is_image
from graphprune.training.batch_file import BatchFile
from graphprune.training.options import TrainOptions
from graphprune.training.report import MetricKind, TrainingReport
from graphprune.training.stream import Tally, capacity, is_held_out, row_hashes, shuffled, split, training_parts

if TYPE_CHECKING:
    from graphprune.base.progress import Progress
    from graphprune.training.loop import Material

_LR = 0.01
_LORA_LR = 3e-4
# ResNet-56 with folded norms less 6 blocks: without it lr=0.001 explodes, with it lr=0.01 learns well
_FOLDED_CLIP = 1.0
_SORTED_SHARE = 0.05  # neighbours that differ; shuffled samples of ten classes differ in nine cases out of ten
FOLDED_NOTE = (
    "the model has no BatchNorm, or it is folded into the convolutions: gradients are clipped to a norm of 1 (training "
    "option clip); where you can, prune and train before folding"
)


def finetune(
    model: Model,
    teacher: Model | None,
    data: Data,
    options: TrainOptions,
    progress: Progress,
    evaluation: Data | None = None,
) -> tuple[Model, TrainingReport]:
    """Train ``model`` on ``data`` and return a copy with the best weights seen, and how it went.

    ``teacher`` is the unpruned network, whose outputs the model is to come near; labels in ``data`` count too.
    The best epoch is judged on ``evaluation``, or on a share of ``data`` that is then not trained on; epoch 0,
    the model as it came in, is a candidate, so that the result is never worse there. Names, inputs, outputs and dtypes
    stay. ``data`` should have no limit: ``load_data(source, model, None)``.

    Raises
    ------
    OptionError
        There is nothing to learn from, or the loss left the finite numbers.
    DataError
        Labels, shapes or the number of samples do not fit.
    InputError
        The checkpoint cannot be used.
    ModelError, RuntimeMissing
        The model cannot be trained, or PyTorch, peft or CUDA is missing.
    """
    trained, report, _ = _without_a_trace(model, teacher, data, options, progress, evaluation)
    return trained, report


def train(
    model: Model,
    data: Data,
    options: TrainOptions,
    progress: Progress,
    evaluation: Data | None = None,
    keep: Collection[int] = (),
) -> tuple[Model, TrainingReport, dict[int, Model]]:
    """Train ``model`` with the labels of ``data`` alone, from the weights it has; else as :func:`finetune`.

    The third of what is returned are the models after the epochs ``keep``, counted with those that ``options.rewound``
    says are behind the weights; epoch 0 is the model as it came in.
    """
    outside = sorted(epoch for epoch in keep if not options.rewound <= epoch <= options.epochs)
    if outside or (keep and options.lora is not None):
        what = f"epoch {outside[0]} is none of those trained" if outside else "adapters have no weights of their own"
        raise OptionError(f"the weights after epochs cannot be kept: {what}", "keep others, or train without lora")
    return _without_a_trace(model, None, data, options, progress, evaluation, keep)


def _without_a_trace(*arguments: Any) -> tuple[Model, TrainingReport, dict[int, Model]]:
    """As :func:`_finetune`; the caller's random numbers go on as if nothing had been."""
    torch = extras.torch()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        return _finetune(*arguments)


def _finetune(
    model: Model,
    teacher: Model | None,
    data: Data,
    options: TrainOptions,
    progress: Progress,
    evaluation: Data | None,
    keep: Collection[int] = (),
) -> tuple[Model, TrainingReport, dict[int, Model]]:
    import torch

    from graphprune.torch_bridge import write_back
    from graphprune.training import network
    from graphprune.training.adapters import adapt, merge
    from graphprune.training.loop import Trainer
    from graphprune.training.objective import objective_for
    from graphprune.training.written import check_written

    if teacher is not None:
        network.check_teacher(model, teacher)
    place = network.Place.of(options)
    size = data.fixed_batch or options.batch
    with BatchFile(size, data.fixed_batch is not None) as batch_file:
        train, judge = _survey(data, evaluation, options, size, batch_file, progress)
        _require_goal(train, judge, teacher is not None, data, options)
        material = _material(data, evaluation, options, size, batch_file, train)
        student = network.TrainableNetwork(model, place)
        dense = None if teacher is None else network.TrainableNetwork(teacher, place, teacher=True)
        torch.manual_seed(options.seed)
        adapters = None if options.lora is None else adapt(student.module, options.lora)
        objective = objective_for(model, options, train.is_labelled or judge.is_labelled)
        is_folded = network.has_folded_norms(model)
        lr = options.lr or (_LORA_LR if options.lora is not None else _LR)
        clip = options.clip or (_FOLDED_CLIP if is_folded else None)
        identity = {
            "model": network.fingerprint(model),
            "unpruned network": "none" if teacher is None else network.fingerprint(teacher),
            "training options": options.what_is_learnt(),
            "data": f"{train}; {judge}",
        }
        trainer = Trainer(
            student, dense, objective, material, options, lr, clip, progress, partial(_save, options, identity), keep
        )
        resumed_at = None
        if options.resume and options.checkpoint is not None and options.checkpoint.exists():
            trainer.load_state_dict(checkpoint.load(options.checkpoint, identity))
            resumed_at = trainer.state.epoch
        state = trainer.run()
        first = next(iter(material.held_out())).feeds
    if adapters is not None:
        merge(adapters)
    kind: MetricKind = "top1" if judge.is_labelled else "agreement" if state.rows[0].score is not None else "loss"
    notes = (*((FOLDED_NOTE,) if is_folded and options.clip is None else ()), *_order_notes(train, options, size))
    trained = model
    if state.kept:
        progress("checking", 0, 0)
        trained = student.written_back()
        check_written(trained, student, first)
    kept: dict[int, Model] = {}
    for epoch, weights in state.snapshots.items():
        student.settle()
        student.module.load_state_dict(weights)
        kept[epoch] = write_back(model, student.module)
    report = TrainingReport(
        kind=kind,
        epochs=tuple(state.rows),
        kept=state.kept,
        train_samples=train.samples,
        held_out_samples=judge.samples if evaluation is not None else batch_file.samples,
        device=str(place.device),
        autocast="bf16" if place.is_mixed else "none",
        options=str(replace(options, lr=lr, checkpoint=None, resume=False)),
        resumed_at=resumed_at,
        seconds=state.seconds,
        notes=notes,
    )
    return trained, report, kept


def _survey(
    data: Data, evaluation: Data | None, options: TrainOptions, size: int, batch_file: BatchFile, progress: Progress
) -> tuple[Tally, Tally]:
    """Read all samples once: count them, put held-out ones aside, and tell this data from any other."""
    train, judge = Tally(), Tally()
    share = options.held_out if evaluation is None else 0.0
    for part, held_out, hashes in split(data, share, size):
        out = is_held_out(hashes, share)
        train = train.plus(part, hashes[~out])
        if len(held_out):
            judge = judge.plus(held_out, hashes[out])
            batch_file.add(held_out)
        progress("reading the data", train.samples + judge.samples, 0)
    batch_file.finish()
    if evaluation is not None:
        for batch in evaluation.batches(size):
            judge = judge.plus(batch, row_hashes(batch))
    elif not batch_file.samples:
        raise DataError(
            f"{data.origin} has too few samples ({train.samples}) to hold some out", "give more, or data for --eval"
        )
    if train.samples < (data.fixed_batch or 1):
        raise DataError(f"{data.origin} holds less than a batch of {size} to train on", "give more data")
    return train, judge


def _require_goal(train: Tally, judge: Tally, has_teacher: bool, data: Data, options: TrainOptions) -> None:
    """Refuse a run that has nothing to make small, or nothing to judge the epochs by."""
    distils = has_teacher and options.distil > 0
    if not distils and not (train.is_labelled and options.labels > 0):
        why = f"{data.origin} has no labels" if not train.is_labelled else "labels=0 leaves the labels out"
        no_teacher = "distil=0 leaves the unpruned network out" if has_teacher else "there is no unpruned network"
        raise OptionError(f"there is nothing to learn from: {why}, and {no_teacher}", "add labels or a teacher")
    if not has_teacher and not judge.is_labelled:
        raise DataError(
            "the held-out samples have no labels, and there is no unpruned network to agree with", "add labels"
        )


def _material(
    data: Data, evaluation: Data | None, options: TrainOptions, size: int, batch_file: BatchFile, train: Tally
) -> Material:
    """Streams of training and held-out batches."""
    from graphprune.training.loop import Material

    share = options.held_out if evaluation is None else 0.0
    room = capacity(train.row_bytes, size, options.shuffle)
    images = tuple(spec.name for spec in data.specs if is_image(spec))
    takes_images = options.augment == "crop-flip" or (options.augment == "auto" and len(images) == len(data.specs))
    if options.augment == "crop-flip" and not images:
        raise OptionError(
            "augment=crop-flip needs square images, which no input of the model is", "leave out the option"
        )

    def batches(epoch: int) -> Iterator[Batch]:
        parts = training_parts(data, share, size, options.passes_per_epoch)
        return shuffled(parts, size, room, (options.seed, epoch), data.batching)

    return Material(
        train=batches,
        held_out=batch_file.batches if evaluation is None else partial(evaluation.batches, size),
        steps=max(1, train.samples * options.passes_per_epoch // size),
        images=images if takes_images else (),
    )


def _save(options: TrainOptions, identity: dict[str, str], state: dict[str, Any]) -> None:
    if options.checkpoint is not None:
        checkpoint.save(options.checkpoint, state | {"identity": identity})


def _order_notes(train: Tally, options: TrainOptions, size: int) -> tuple[str, ...]:
    room = capacity(train.row_bytes, size, options.shuffle)
    classes = train.highest - train.lowest + 1
    if not train.is_labelled or classes < 2 or room >= train.samples or train.changes > _SORTED_SHARE * train.samples:
        return ()
    return (
        f"the samples seem to be sorted by class, and the shuffle buffer holds {room} of {train.samples}: "
        "shuffle the data, or raise the training option shuffle",
    )
