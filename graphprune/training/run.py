"""One call from a pruned model to a trained one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from graphprune.base import extras
from graphprune.data.batching import Arrays, Batch
from graphprune.data.dataset import Data
from graphprune.errors import DataError, OptionError
from graphprune.ir.model import Model
from graphprune.training import checkpoint
from graphprune.training.augment import is_image
from graphprune.training.batch_file import BatchFile
from graphprune.training.course import Course
from graphprune.training.options import TEXT_BATCH, TrainOptions
from graphprune.training.report import MetricKind, TrainingReport
from graphprune.training.stream import Tally, capacity, is_held_out, row_hashes, shuffled, split, training_parts
from graphprune.training.trial import ROUNDS

if TYPE_CHECKING:
    from graphprune.base.progress import Progress
    from graphprune.training.goal import TrainingGoal
    from graphprune.training.loop import Material
    from graphprune.training.network import TrainableNetwork
    from graphprune.training.text_task import TextTask

_LR = 0.01
_LORA_LR = 3e-4
_TEXT_LR = 1e-4
_BATCH = 128
_HEALING_BATCH = 64
_HEALING_LR = 1e-4
_TEXT_WARMUP = 0.1
_LEAST_EVERY = 50  # steps between two judgements
_EVERY_PER_JUDGED = 5  # times the held-out samples are trained on between two judgements: these take a tenth then
# ResNet-56 with folded norms less 6 blocks: without it lr=0.001 explodes, with it lr=0.01 learns well
_FOLDED_CLIP = 1.0
_TEXT_CLIP = 1.0
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

    ``teacher`` is the unpruned network, whose outputs the model is to come near; labels in ``data`` count too, and of
    text (token ids with an empty cache) the next tokens.
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
    from graphprune.training import network, text_task
    from graphprune.training.adapters import merge
    from graphprune.training.loop import Trainer
    from graphprune.training.next_tokens import IGNORED, NextTokens, answer_of
    from graphprune.training.objective import objective_for
    from graphprune.training.written import check_written

    task = text_task.task_of(model, data)
    if teacher is not None:
        network.check_teacher(model, teacher, is_text=task is not None)
    place = network.Place.of(options)
    usual = TEXT_BATCH if task is not None else _HEALING_BATCH if options.is_healing else _BATCH
    size = data.fixed_batch or options.batch or usual
    micro = options.micro_batch or (1 if task is not None else None)
    micro = None if data.fixed_batch else micro
    held_out_size = data.fixed_batch or min(size, micro or size)
    with BatchFile(held_out_size, data.fixed_batch is not None) as batch_file:
        train, judge = _survey(data, evaluation, options, size, batch_file, progress)
        watched = _junctions(model, teacher, options)
        student = network.TrainableNetwork(model, place, watched=watched)
        task = None if task is None or train.is_labelled else text_task.if_causal(task, student, data)
        _require_goal(train, judge, teacher is not None, task is not None, data, options)
        judged = judge.samples if evaluation is not None else batch_file.samples
        material, epoch_steps = _material(data, evaluation, options, size, batch_file, train)
        material = replace(material, micro_batch=micro)
        dense = None if teacher is None else network.TrainableNetwork(teacher, place, teacher=True, watched=watched)
        objective: TrainingGoal = objective_for(model, options, train.is_labelled or judge.is_labelled)
        if task is not None:
            material = text_task.material_of(material, task.names)
            objective = NextTokens(options.labels, options.distil, options.temperature)
            student.answer = task.answer
            if dense is not None:
                dense.answer = answer_of(dense.model)
        if watched and dense is not None:
            objective = _with_junctions(objective, student, dense, data.first(1), len(watched), options.junctions)
        torch.manual_seed(options.seed)
        adapters = None if options.lora is None else _adapters(student, data, options, task)
        is_folded, is_text = network.has_folded_norms(model), task is not None
        lr, clip, warmup = _rates(options, is_text, is_folded)
        course = _course(options, epoch_steps, judged, size, lr, warmup)
        identity = {
            "model": network.fingerprint(model),
            "unpruned network": "none" if teacher is None else network.fingerprint(teacher),
            "training options": options.what_is_learnt(),
            "data": f"{train}; {judge}",
        }
        save = partial(_save, options, identity)
        trainer = Trainer(student, dense, objective, material, options, course, clip, progress, save, keep)
        resumed_at = None
        if options.resume and options.checkpoint is not None and options.checkpoint.exists():
            trainer.load_state_dict(checkpoint.load(options.checkpoint, identity))
            resumed_at = trainer.state.epoch
        state = trainer.run()
        first = next(iter(material.held_out()))
    if adapters is not None:
        merge(adapters)
    kind: MetricKind = "agreement" if state.rows[0].score is not None else "loss"
    kind = "perplexity" if is_text else "top1" if judge.is_labelled else kind
    batch = size if is_text else None if options.batch == _BATCH else options.batch
    notes = (*((FOLDED_NOTE,) if is_folded and options.clip is None else ()), *_order_notes(train, options, size))
    trained = model
    if state.kept:
        progress("checking", 0, 0)
        trained = student.written_back()
        places = np.not_equal(first.labels, IGNORED) if is_text and first.labels is not None else None
        check_written(trained, student, first.feeds, places)
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
        held_out_samples=judged,
        device=str(place.device),
        autocast="bf16" if place.is_mixed else "none",
        options=str(replace(options, lr=state.course.lr, probe=False, batch=batch, checkpoint=None, resume=False)),
        resumed_at=resumed_at,
        seconds=state.seconds,
        notes=notes,
        goal="healing" if options.is_healing else "training",
    )
    return trained, report, kept


def _rates(options: TrainOptions, is_text: bool, is_folded: bool) -> tuple[float, float | None, float]:
    """Largest learning rate, largest norm of gradients, share of the steps in which the rate rises."""
    usual = _TEXT_LR if is_text else _HEALING_LR if options.is_healing else _LR
    lr = options.lr or (_LORA_LR if options.lora is not None else usual)
    clip = options.clip or (_TEXT_CLIP if is_text else _FOLDED_CLIP if is_folded else None)
    return lr, clip, options.warmup if options.warmup is not None else _TEXT_WARMUP if is_text else 0.0


def _adapters(student: TrainableNetwork, data: Data, options: TrainOptions, task: TextTask | None) -> Any:
    """LoRA beside the dense layers that are to have it; of text all but the one that gives the scores."""
    from graphprune.training.adapters import adapt
    from graphprune.training.least_alike import least_alike

    assert options.lora is not None  # the caller asked
    weights = None if options.lora_blocks is None else least_alike(student.model, data, options.lora_blocks)
    return adapt(
        student.module,
        options.lora,
        alpha=options.lora_alpha,
        dropout=options.lora_dropout,
        weights=weights,
        last=task is None,
    )


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


def _require_goal(
    train: Tally, judge: Tally, has_teacher: bool, is_text: bool, data: Data, options: TrainOptions
) -> None:
    """Refuse a run that has nothing to make small, or nothing to judge the epochs by."""
    distils = has_teacher and options.distil > 0
    is_labelled = train.is_labelled or is_text
    if not distils and not (is_labelled and options.labels > 0):
        why = f"{data.origin} has no labels" if not is_labelled else "labels=0 leaves the labels out"
        no_teacher = "distil=0 leaves the unpruned network out" if has_teacher else "there is no unpruned network"
        raise OptionError(f"there is nothing to learn from: {why}, and {no_teacher}", "add labels or a teacher")
    if not has_teacher and not (judge.is_labelled or is_text):
        raise DataError(
            "the held-out samples have no labels, and there is no unpruned network to agree with", "add labels"
        )


def _material(
    data: Data, evaluation: Data | None, options: TrainOptions, size: int, batch_file: BatchFile, train: Tally
) -> tuple[Material, int]:
    """Streams of training and held-out batches, and how many steps a pass over the data has."""
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

    steps = max(1, train.samples * options.passes_per_epoch // size)
    held_out = batch_file.batches if evaluation is None else partial(evaluation.batches, batch_file.size)
    used = images if takes_images else ()
    if options.is_in_epochs:
        return Material(lambda epoch, _: batches(epoch), held_out, used), steps
    return Material(partial(_round, batches, steps), held_out, used), steps


def _course(options: TrainOptions, steps: int, judged: int, size: int, lr: float, warmup: float) -> Course:
    """What is known before the run; an epoch over the data has ``steps``."""
    if options.until_still:
        return Course.until_still(options.judge_every or max(_LEAST_EVERY, _EVERY_PER_JUDGED * judged // size), lr)
    if options.steps is None:
        return Course(options.epochs * steps, steps, lr, warmup)
    every = min(options.steps, options.judge_every or -(-options.steps // ROUNDS))
    return Course(options.steps, every, lr, warmup)


def _junctions(model: Model, teacher: Model | None, options: TrainOptions) -> tuple[str, ...]:
    from graphprune.training.junctions import shared_junctions

    if not options.is_healing:
        return ()
    if teacher is None:
        raise OptionError("the training option junctions needs the unpruned network", "give it as the teacher")
    return shared_junctions(model, teacher)


def _with_junctions(
    goal: TrainingGoal, student: TrainableNetwork, dense: TrainableNetwork, feeds: Arrays, count: int, strength: float
) -> TrainingGoal:
    import torch

    from graphprune.training.junctions import WithJunctions

    tensors = student.tensors(feeds)
    with torch.no_grad():
        found = student.observed(tensors), dense.observed(dense.like(student, tensors))
    return WithJunctions.of(goal, *found, count, strength)


def _round(batches: Callable[[int], Iterator[Batch]], steps: int, number: int, every: int) -> Iterator[Batch]:
    """Batches of the ``number``-th ``every`` steps; a pass over the data, ``batches``, has ``steps``."""
    place, stop = (number - 1) * every, number * every
    while place < stop:
        skipped = place % steps
        for batch in islice(batches(place // steps + 1), skipped, min(steps, skipped + stop - place)):
            yield batch
            place += 1


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
