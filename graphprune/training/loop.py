"""Epochs and steps. Everything that a step depends on is in the state or follows from (seed, epoch, step)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from math import inf, isfinite
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from graphprune.base.progress import Progress
from graphprune.data.batching import Batch
from graphprune.errors import OptionError
from graphprune.training.augment import augmented
from graphprune.training.course import Course
from graphprune.training.goal import TrainingGoal
from graphprune.training.judgement import Verdict
from graphprune.training.network import TrainableNetwork, trainable
from graphprune.training.options import TrainOptions
from graphprune.training.prefetch import prefetched
from graphprune.training.report import EpochReport
from graphprune.training.step import RecordedStep, Step, recorded
from graphprune.training.trial import Trial

_CHECK_EVERY = 25  # steps; reading the loss makes a GPU wait
_TRIAL_WARMUP = 0.3  # of a trial: the first steps of Adam are as large as its rate, whatever the slope
_LOG = logging.getLogger("graphprune.training")


@dataclass
class State:
    """Where a run is, and where it goes: ``step`` steps of ``epoch`` are done. ``rows`` are the epochs behind it,
    ``best`` the weights of the best, ``snapshots`` those of the epochs that were to be kept.
    """

    course: Course
    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    rows: list[EpochReport] = field(default_factory=list)
    kept: int = 0
    best: dict[str, Tensor] = field(default_factory=dict)
    seconds: float = 0.0
    epoch_seconds: float = 0.0
    snapshots: dict[int, dict[str, Tensor]] = field(default_factory=dict)


@dataclass
class Material:
    """What the loop reads: ``train(epoch, steps)`` and ``held_out()`` give batches;
    ``images`` are the inputs to augment. ``micro_batch`` samples go through the network at once, None: a batch.
    """

    train: Callable[[int, int], Iterator[Batch]]
    held_out: Callable[[], Iterator[Batch]]
    images: tuple[str, ...]
    micro_batch: int | None = None


class Trainer:
    """Trains ``student`` towards ``objective``;
    ``save`` is called with a state dict whenever the state is worth keeping.
    """

    def __init__(
        self,
        student: TrainableNetwork,
        teacher: TrainableNetwork | None,
        objective: TrainingGoal,
        material: Material,
        options: TrainOptions,
        course: Course,
        clip: float | None,
        progress: Progress,
        save: Callable[[dict[str, Any]], None],
        keep: Collection[int] = (),
    ) -> None:
        self._student, self._teacher, self._objective, self._material = student, teacher, objective, material
        self._options, self._progress, self._save = options, progress, save
        self._clip, self._keep = clip, frozenset(keep)
        self._weights = trainable(list(student.module.parameters()))
        learns = bool(options.distil or options.junctions)
        self._plain_step = Step(student, teacher if learns else None, objective, self._weights)
        self._recorded_step: Step | RecordedStep | None = None
        self.state = State(course)
        self._optimiser = self._make_optimiser()
        self._began = self._epoch_began = self._saved = time.monotonic()

    def run(self) -> State:
        """Train to the last epoch, from wherever the state is; the best weights are in the module at the end.

        Raises
        ------
        OptionError
            The loss stopped being a finite number.
        """
        self._began = self._epoch_began = self._saved = time.monotonic()
        if not self.state.rows:
            self._choose_course()
            self._close(self._judged(None, None))
        while self.state.epoch <= self._epochs_left:
            self._epoch()
        self._take_up(self.state.best)
        return self.state

    def _epoch(self) -> None:
        state = self.state
        steps, whole = state.course.every, state.course.length(self._schooled(state.epoch))
        self._begin_training()
        total = torch.tensor(state.loss_sum, dtype=torch.float64, device=self._student.place.device)
        for index, batch in prefetched(
            self._numbered(self._schooled(state.epoch), steps, whole), self._augmenter(state.epoch, state.step)
        ):
            if batch is None:
                continue  # done before the run was resumed
            self._set_lr((state.epoch - 1) * steps + index)
            total += self._step(batch, index)
            state.step = index + 1
            left = state.course.steps - self._options.rewound * steps if state.course.falls_from >= 0 else 0
            self._progress(self._task, (state.epoch - 1) * steps + state.step, left)
            if not state.step % _CHECK_EVERY:
                self._require_finite(float(total))
            if time.monotonic() - self._saved >= self._options.checkpoint_seconds:
                state.loss_sum = float(total)
                self._checkpoint()
        state.loss_sum = float(total)
        self._require_finite(state.loss_sum)
        self._close(
            self._judged(self._set_lr((state.epoch - 1) * steps + whole - 1), state.loss_sum / max(1, state.step))
        )

    @property
    def _task(self) -> str:
        return "healing" if self._options.is_healing else "training"

    def _begin_training(self) -> None:
        self._student.module.train(not self._options.freezes_norms)
        if self._options.lora is not None:
            _train_dropout(self._student.module)

    def _numbered(self, epoch: int, steps: int, count: int) -> Iterator[tuple[int, Batch]]:
        """The first ``count`` batches of an epoch of so many ``steps``."""
        return islice(enumerate(self._material.train(epoch, steps)), count)

    def _choose_course(self) -> None:
        """Learning rate and number of steps, where trials and the time that they take are to say."""
        options, state = self._options, self.state
        is_probed = options.probe and options.lr is None
        if not is_probed and options.seconds is None:
            return
        trial = Trial(self._attempt, state.course, options)
        state.course = trial.course_of(is_probed=is_probed)
        self._optimiser = self._make_optimiser()

    def _attempt(self, lr: float, steps: int) -> tuple[float, float]:
        """The held-out loss after so many steps, and the seconds that one took; all is as before then."""
        before = self._weights_now()
        self._optimiser = self._make_optimiser()
        self._begin_training()
        course, seconds = Course(steps, steps, lr, _TRIAL_WARMUP), 0.0
        loss = 0.0
        for index, batch in prefetched(self._numbered(1, steps, steps), self._augmenter(1, 0)):
            assert batch is not None  # none is done before
            started = time.monotonic()
            self._set_lr(index, course)
            loss = float(self._step(batch, index))
            seconds = min(seconds or inf, time.monotonic() - started) if index else 0.0
            self._progress("choosing the learning rate", index + 1, steps)
            if not isfinite(loss):
                break
        found = self._held_out_verdict().loss if isfinite(loss) else inf
        self._take_up(before)
        return found, seconds

    def _augmenter(self, epoch: int, done: int) -> Callable[[tuple[int, Batch]], tuple[int, Batch | None]]:
        """Makes of a step's number and batch the batch as it is trained on;
        None for the ``done`` steps before a resumption.
        """

        def prepare(numbered: tuple[int, Batch]) -> tuple[int, Batch | None]:
            index, batch = numbered
            if index < done:
                return index, None
            key = (self._options.seed, self._schooled(epoch), index)
            return index, replace(batch, feeds=augmented(batch.feeds, self._material.images, key))

        return prepare

    def _step(self, batch: Batch, index: int) -> Tensor:
        key = (self._options.seed, self._schooled(self.state.epoch), index)
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint32)[0]))  # dropout
        loss = self._pass(batch)
        if self._clip is not None:
            nn.utils.clip_grad_norm_(self._weights, self._clip)
        self._optimiser.step()
        return loss

    def _pass(self, batch: Batch) -> Tensor:
        """Forwards and backwards, recorded with the first batch; one of another size ends that for good."""
        size = self._material.micro_batch or len(batch)
        if len(batch) > size or self._objective.is_text:
            parts = [batch.pick(slice(start, start + size)) for start in range(0, len(batch), size)]
            return self._plain_step.of_parts(parts)
        if self._recorded_step is None:
            self._recorded_step = recorded(self._plain_step, batch)
        if isinstance(self._recorded_step, RecordedStep) and not self._recorded_step.fits(batch):
            self._recorded_step = self._plain_step
        return self._recorded_step(batch)

    def _judged(self, lr: float | None, train_loss: float | None) -> EpochReport:
        """How good the network is on the held-out samples now."""
        verdict = self._held_out_verdict()
        self._require_finite(verdict.loss)
        seconds = self.state.epoch_seconds + time.monotonic() - self._epoch_began
        return EpochReport(self.state.epoch, lr, train_loss, verdict.loss, verdict.score, seconds, verdict.perplexity)

    @torch.no_grad()
    def _held_out_verdict(self) -> Verdict:
        self._student.module.eval()
        verdict, in_full = Verdict(), self._options.is_healing  # what it gains is small beside what bf16 rounds off
        for batch in self._material.held_out():
            tensors = self._student.tensors(batch.feeds)
            given = self._student.observed(tensors, in_full=in_full)
            wanted = None
            if self._teacher is not None:
                wanted = self._teacher.observed(self._teacher.like(self._student, tensors), in_full=in_full)
            labels = self._student.labels(batch.labels)
            verdict.add(self._objective.judge(given, wanted, labels, batch))
        return verdict

    @property
    def _epochs_left(self) -> int:
        """Of those asked for, without those that the weights have behind them."""
        return self.state.course.epochs - self._options.rewound

    def _schooled(self, epoch: int) -> int:
        """``epoch`` of this run, counted from the first one of the weights."""
        return self._options.rewound + epoch

    def _close(self, row: EpochReport) -> None:
        """Note an epoch, keep its weights if they are the best so far or asked for, and go to the next."""
        state = self.state
        if not state.rows or row.is_better_than(state.rows[state.kept], by=self._options.best):
            state.kept = row.epoch
            state.best = self._weights_now()
        if self._schooled(row.epoch) in self._keep:
            state.snapshots[self._schooled(row.epoch)] = self._weights_now()
        state.rows.append(row)
        state.epoch, state.step, state.loss_sum = row.epoch + 1, 0, 0.0
        if row.epoch:
            state.course = self._course_from_here()
        self._log(row)
        self._checkpoint(epoch_ended=True)

    def _course_from_here(self) -> Course:
        """What the last epoch says of those to come."""
        state, seconds = self.state, self._options.seconds
        if seconds is None:
            return state.course.after(state.rows)
        spent = state.seconds + time.monotonic() - self._began
        done = min(state.rows[-1].epoch * state.course.every, state.course.steps)
        return state.course.within(
            seconds - spent, state.rows[-1].seconds / state.course.length(state.rows[-1].epoch), done
        )

    def _weights_now(self) -> dict[str, Tensor]:
        return {name: tensor.detach().cpu().clone() for name, tensor in self._learnt().items()}

    def _log(self, row: EpochReport) -> None:
        spent = [each.seconds for each in self.state.rows[1:]]
        left = (self._epochs_left - row.epoch) * sum(spent) / max(1, len(spent))
        _LOG.info(
            "epoch %d%s: loss %s, held-out loss %.4f%s, %.1f s%s",
            row.epoch,
            f" of {self._epochs_left}" if self.state.course.falls_from >= 0 else "",
            "-" if row.train_loss is None else f"{row.train_loss:.4f}",
            row.held_out_loss,
            f", perplexity {row.perplexity:.2f}"
            if row.perplexity is not None
            else ""
            if row.score is None
            else f", score {100 * row.score:.2f} %",
            row.seconds,
            f", about {left:.0f} s left" if spent and left else "",
        )

    def _checkpoint(self, *, epoch_ended: bool = False) -> None:
        now = time.monotonic()
        self.state.seconds += now - self._began
        self.state.epoch_seconds = 0.0 if epoch_ended else self.state.epoch_seconds + now - self._epoch_began
        self._began = self._epoch_began = now
        self._require_finite(self.state.loss_sum)
        self._save(self.state_dict())
        self._saved = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values only."""
        state = self.state
        plain = {
            name: getattr(state, name) for name in ("epoch", "step", "loss_sum", "kept", "seconds", "epoch_seconds")
        }
        return plain | {
            "course": asdict(state.course),
            "rows": [asdict(row) for row in state.rows],
            "best": state.best,
            "snapshots": state.snapshots,
            "module": self._learnt(),
            "optimiser": self._optimiser.state_dict(),
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Take up what :meth:`state_dict` gave."""
        names = ("epoch", "step", "loss_sum", "kept", "seconds", "epoch_seconds", "best", "snapshots")
        rows, course = [EpochReport(**row) for row in saved["rows"]], Course(**saved["course"])
        self.state = State(course, rows=rows, **{name: saved[name] for name in names})
        self._take_up(saved["module"])
        self._optimiser.load_state_dict(saved["optimiser"])

    def _learnt(self) -> dict[str, Tensor]:
        """What training changes: of a network with adapters these alone."""
        module = self._student.module
        state: dict[str, Tensor] = module.state_dict()
        if self._options.lora is None:
            return state
        changing = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
        return {name: tensor for name, tensor in state.items() if name in changing}

    def _take_up(self, learnt: dict[str, Tensor]) -> None:
        self._student.module.load_state_dict(learnt, strict=self._options.lora is None)

    def _make_optimiser(self) -> torch.optim.Optimizer:
        """SGD with Nesterov momentum as in the papers; AdamW for text, and for adapters, whose scale starts at zero."""
        options, lr = self._options, self.state.course.lr
        is_adaptive = options.lora is not None or self._objective.is_text
        if options.optimiser == "adamw" or (options.optimiser == "auto" and is_adaptive):
            return torch.optim.AdamW(self._weights, lr=lr, weight_decay=options.weight_decay)
        return torch.optim.SGD(
            self._weights,
            lr=lr,
            momentum=options.momentum,
            nesterov=options.momentum > 0,
            weight_decay=options.weight_decay,
        )

    def _set_lr(self, done: int, course: Course | None = None) -> float:
        course = course or self.state.course
        lr = course.rate(self._options, done + self._options.rewound * course.every)
        for group in self._optimiser.param_groups:
            group["lr"] = lr
        return lr

    def _require_finite(self, loss: float) -> None:
        if loss != loss or loss in (float("inf"), float("-inf")):
            raise OptionError(
                f"the loss became {loss} in epoch {self.state.epoch} with the learning rate {self.state.course.lr:g}",
                f"try lr={self.state.course.lr / 10:g}",
            )


def _train_dropout(module: nn.Module) -> None:
    for each in module.modules():
        if isinstance(each, nn.Dropout):
            each.train()
