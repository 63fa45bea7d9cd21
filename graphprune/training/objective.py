"""What training makes small: cross-entropy with the labels, and the distance to the unpruned network's outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from graphprune.data.batching import Batch
from graphprune.errors import DataError
from graphprune.ir.model import Model
from graphprune.training.judgement import Judgement
from graphprune.training.options import TrainOptions

_SCORE_OPS = ("Gemm", "MatMul", "Add", "Softmax", "LogSoftmax")  # what class scores come out of
_TINY = 1e-12


@dataclass(frozen=True)
class Objective:
    """The loss of a batch; outputs are lists in the order of the graph's.

    ``match`` is how first outputs are compared (``kl`` or ``mse``), ``is_probability`` tells that the first output went
    through a softmax. With labels the first output alone counts; without, all floating-point outputs do.
    """

    match: Literal["kl", "mse"]
    is_probability: bool
    label_weight: float
    distil_weight: float
    temperature: float
    is_text: ClassVar[bool] = False

    def __call__(self, given: Sequence[Tensor], wanted: Sequence[Tensor] | None, labels: Tensor | None) -> Tensor:
        """Mean over the batch, float32, shape (). ``wanted`` are the unpruned network's outputs.

        The labels must fit, see :func:`check_labels`: asking here would make a GPU wait.
        """
        loss = given[0].new_zeros((), dtype=torch.float32)
        if labels is not None and self.label_weight:
            loss = loss + self.label_weight * functional.cross_entropy(self.logits(given[0]), labels)
        if wanted is not None and self.distil_weight:
            loss = loss + self.distil_weight * self._distance(given[0], wanted[0])
            others = [
                relative_error(one, other)
                for one, other in zip(given[1:], wanted[1:], strict=True)
                if labels is None and one.is_floating_point() and one.shape == other.shape
            ]  # key-value caches of a pruned decoder have fewer heads than the unpruned one's
            if others:
                loss = loss + self.distil_weight * torch.stack(others).mean()
        return loss

    def check(self, given: Sequence[Tensor], labels: np.ndarray | None) -> None:
        """Refuse labels that count and do not fit; see :func:`check_labels`."""
        if labels is not None and self.label_weight:
            check_labels(given[0], int(labels.min()), int(labels.max()))

    def weight(self, batch: Batch) -> int:
        """Samples."""
        return len(batch)

    def judge(
        self, given: Sequence[Tensor], wanted: Sequence[Tensor] | None, labels: Tensor | None, batch: Batch
    ) -> Judgement:
        """The loss, and how many largest outputs are the labels, or the unpruned network's."""
        if batch.labels is not None:
            check_labels(given[0], int(batch.labels.min()), int(batch.labels.max()))
        target = labels if labels is not None else wanted[0] if wanted and self.match == "kl" else None
        right = (0, 0) if target is None else hits(given[0], target)
        return Judgement(float(self(given, wanted, labels)), self.weight(batch), right)

    def logits(self, output: Tensor) -> Tensor:
        """Class scores, float32, with the classes on axis 1."""
        scores = output.float()
        if self.is_probability:
            scores = scores.clamp_min(_TINY).log()
        return scores if scores.ndim in (2, 4) else scores.reshape(-1, scores.shape[-1])

    def _distance(self, given: Tensor, wanted: Tensor) -> Tensor:
        if given.shape != wanted.shape:
            raise DataError(
                f"the first output is {list(given.shape)}, the unpruned network's {list(wanted.shape)}",
                "give the network that the model was pruned from as the teacher",
            )
        if self.match == "mse":
            return relative_error(given, wanted)
        softened = functional.log_softmax(self.logits(given) / self.temperature, 1)
        target = functional.log_softmax(self.logits(wanted) / self.temperature, 1)
        divergence = functional.kl_div(softened, target, reduction="none", log_target=True).sum(1).mean()
        return divergence * self.temperature**2  # keeps its gradients as large as those of the labels


def relative_error(given: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared error over the variance of ``wanted``: 1 is as bad as a constant."""
    target = wanted.float()
    spread = target.var(unbiased=False).clamp_min(_TINY)
    return functional.mse_loss(given.float(), target) / spread


def check_labels(scores: Tensor, lowest: int, highest: int) -> None:
    """Refuse labels that are no classes of these scores.

    Raises
    ------
    DataError
        The scores are not [samples, classes], or a label is no class number.
    """
    if scores.ndim != 2:
        raise DataError(
            f"labels need class scores [samples, classes], the first output is {list(scores.shape)}", "drop them"
        )
    if lowest < 0 or highest >= scores.shape[1]:
        raise DataError(
            f"the labels run from {lowest} to {highest}, but the model has {scores.shape[1]} classes",
            "number the classes from 0",
        )


def hits(scores: Tensor, target: Tensor) -> tuple[int, int]:
    """How many largest outputs are those of ``target`` (labels, or scores of the same shape), and of how many."""
    axis = 1 if scores.ndim == 4 else -1
    chosen = scores.argmax(axis)
    right = target if target.shape == chosen.shape and not target.is_floating_point() else target.argmax(axis)
    return int((chosen == right).sum()), chosen.numel()


def objective_for(model: Model, options: TrainOptions, is_labelled: bool) -> Objective:
    """The loss that suits the model's first output: class scores are what a dense layer or a softmax gives,
    or what has labels.
    """
    producers = model.graph.outputs[0].inputs
    last = producers[0].op if producers else ""
    match = options.match
    if match == "auto":
        match = "kl" if is_labelled or last in _SCORE_OPS else "mse"
    return Objective(match, last == "Softmax", options.labels, options.distil, options.temperature)
