"""Epochs and steps. Everything that a step depends on is in the state or follows from (seed, epoch, step)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from graphprune.base.progress import Progress
from graphprune.data.batching import Batch
from graphprune.errors import OptionError
from graphprune.training.augment import augmented
from graphprune.training.judgement import Verdict
from graphprune.training.network import TrainableNetwork, trainable
from graphprune.training.next_tokens import NextTokens
from graphprune.training.objective import Objective
from graphprune.training.options import TrainOptions
from graphprune.training.prefetch import prefetched
from graphprune.training.report import EpochReport
from graphprune.training.schedule import lr_at
from graphprune.training.step import RecordedStep, Step, recorded

_CHECK_EVERY = 25  # steps; reading the loss makes a GPU wait
_LOG = logging.getLogger("graphprune.training")


@dataclass
class State:
    """Where a run is: ``step`` steps of ``epoch`` are done. ``rows`` are the epochs behind it,
    ``best`` the weights of the best, ``snapshots`` those of the epochs that were to be kept.
    """

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
    """What the loop reads: ``train(epoch)`` and ``held_out()`` give batches, an epoch has ``steps``, and ``total`` are
    all; ``images`` are the inputs to augment. ``micro_batch`` samples go through the network at once, None: a batch.
    """

    train: Callable[[int], Iterator[Batch]]
    held_out: Callable[[], Iterator[Batch]]
    steps: int
    total: int
    images: tuple[str, ...]
    micro_batch: int | None = None

    @property
    def epochs(self) -> int:
        return -(-self.total // self.steps)


class Trainer:
    """Trains ``student`` towards ``objective``;
    ``save`` is called with a state dict whenever the state is worth keeping.
    """

    def __init__(
        self,
        student: TrainableNetwork,
        teacher: TrainableNetwork | None,
        objective: Objective | NextTokens,
        material: Material,
        options: TrainOptions,
        lr: float,
        clip: float | None,
        warmup: float,
        progress: Progress,
        save: Callable[[dict[str, Any]], None],
        keep: Collection[int] = (),
    ) -> None:
        self._student, self._teacher, self._objective, self._material = student, teacher, objective, material
        self._options, self._progress, self._save = options, progress, save
        self._lr, self._clip, self._warmup, self._keep = lr, clip, warmup, frozenset(keep)
        self._weights = trainable(list(student.module.parameters()))
        self._plain_step = Step(student, teacher if options.distil else None, objective, self._weights)
        self._recorded_step: Step | RecordedStep | None = None
        self._optimiser = self._make_optimiser()
        self.state = State()
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
            self._close(self._judged(None, None))
        while self.state.epoch <= self._epochs_left:
            self._epoch()
        self._take_up(self.state.best)
        return self.state

    def _epoch(self) -> None:
        state, steps = self.state, self._material.steps
        self._student.module.train(self._options.lora is None)  # adapters do not move the norms' running means
        if self._options.lora is not None:
            _train_dropout(self._student.module)
        total = torch.tensor(state.loss_sum, dtype=torch.float64, device=self._student.place.device)
        for index, batch in prefetched(
            enumerate(self._material.train(self._schooled(state.epoch))), self._augmenter(state.epoch, state.step)
        ):
            if batch is None:
                continue  # done before the run was resumed
            self._set_lr((state.epoch - 1) * steps + index)
            total += self._step(batch, index)
            state.step = index + 1
            left = self._material.total - self._options.rewound * steps
            self._progress("training", (state.epoch - 1) * steps + state.step, left)
            if not state.step % _CHECK_EVERY:
                self._require_finite(float(total))
            if time.monotonic() - self._saved >= self._options.checkpoint_seconds:
                state.loss_sum = float(total)
                self._checkpoint()
        state.loss_sum = float(total)
        self._require_finite(state.loss_sum)
        self._close(
            self._judged(
                self._set_lr(min(state.epoch * steps, self._material.total) - 1), state.loss_sum / max(1, state.step)
            )
        )

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
        if len(batch) > size or isinstance(self._objective, NextTokens):
            parts = [batch.pick(slice(start, start + size)) for start in range(0, len(batch), size)]
            return self._plain_step.of_parts(parts)
        if self._recorded_step is None:
            self._recorded_step = recorded(self._plain_step, batch)
        if isinstance(self._recorded_step, RecordedStep) and not self._recorded_step.fits(batch):
            self._recorded_step = self._plain_step
        return self._recorded_step(batch)

    @torch.no_grad()
    def _judged(self, lr: float | None, train_loss: float | None) -> EpochReport:
        """How good the network is on the held-out samples now."""
        self._student.module.eval()
        verdict = Verdict()
        for batch in self._material.held_out():
            given = self._student(batch.feeds)
            wanted = None
            if self._teacher is not None:
                wanted = self._teacher.run(self._teacher.like(self._student, self._student.tensors(batch.feeds)))
            labels = self._student.labels(batch.labels)
            verdict.add(self._objective.judge(given, wanted, labels, batch))
        self._require_finite(verdict.loss)
        seconds = self.state.epoch_seconds + time.monotonic() - self._epoch_began
        return EpochReport(self.state.epoch, lr, train_loss, verdict.loss, verdict.score, seconds, verdict.perplexity)

    @property
    def _epochs_left(self) -> int:
        """Of those asked for, without those that the weights have behind them."""
        return self._material.epochs - self._options.rewound

    def _schooled(self, epoch: int) -> int:
        """``epoch`` of this run, counted from the first one of the weights."""
        return self._options.rewound + epoch

    def _close(self, row: EpochReport) -> None:
        """Note an epoch, keep its weights if they are the best so far or asked for, and go to the next."""
        state = self.state
        if not state.rows or row.is_better_than(state.rows[state.kept]):
            state.kept = row.epoch
            state.best = self._weights_now()
        if self._schooled(row.epoch) in self._keep:
            state.snapshots[self._schooled(row.epoch)] = self._weights_now()
        state.rows.append(row)
        state.epoch, state.step, state.loss_sum = row.epoch + 1, 0, 0.0
        self._log(row)
        self._checkpoint(epoch_ended=True)

    def _weights_now(self) -> dict[str, Tensor]:
        return {name: tensor.detach().cpu().clone() for name, tensor in self._learnt().items()}

    def _log(self, row: EpochReport) -> None:
        spent = [each.seconds for each in self.state.rows[1:]]
        left = (self._epochs_left - row.epoch) * sum(spent) / max(1, len(spent))
        _LOG.info(
            "epoch %d of %d: loss %s, held-out loss %.4f%s, %.1f s%s",
            row.epoch,
            self._epochs_left,
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
            "rows": [asdict(row) for row in state.rows],
            "best": state.best,
            "snapshots": state.snapshots,
            "module": self._learnt(),
            "optimiser": self._optimiser.state_dict(),
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Take up what :meth:`state_dict` gave."""
        names = ("epoch", "step", "loss_sum", "kept", "seconds", "epoch_seconds", "best", "snapshots")
        self.state = State(rows=[EpochReport(**row) for row in saved["rows"]], **{name: saved[name] for name in names})
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
        options = self._options
        is_adaptive = options.lora is not None or isinstance(self._objective, NextTokens)
        if options.optimiser == "adamw" or (options.optimiser == "auto" and is_adaptive):
            return torch.optim.AdamW(self._weights, lr=self._lr, weight_decay=options.weight_decay)
        return torch.optim.SGD(
            self._weights,
            lr=self._lr,
            momentum=options.momentum,
            nesterov=options.momentum > 0,
            weight_decay=options.weight_decay,
        )

    def _set_lr(self, done: int) -> float:
        done += self._options.rewound * self._material.steps
        lr = lr_at(self._options.schedule, self._lr, done, self._material.total, self._warmup)
        for group in self._optimiser.param_groups:
            group["lr"] = lr
        return lr

    def _require_finite(self, loss: float) -> None:
        if loss != loss or loss in (float("inf"), float("-inf")):
            raise OptionError(
                f"the loss became {loss} in epoch {self.state.epoch} with the learning rate {self._lr:g}",
                f"try lr={self._lr / 10:g}",
            )


def _train_dropout(module: nn.Module) -> None:
    for each in module.modules():
        if isinstance(each, nn.Dropout):
            each.train()
