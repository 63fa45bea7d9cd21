"""One batch forwards and backwards; on a GPU the whole of it is recorded once and then replayed.

A small network spends more time launching kernels than running them: ResNet-56 has some 600 of them a step.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from graphprune.data.batching import Batch
from graphprune.training.goal import TrainingGoal
from graphprune.training.network import TrainableNetwork

_WARM_UPS = 3  # libraries choose their kernels in the first runs, which cannot be recorded
_LOG = logging.getLogger("graphprune.training")


class Step:
    """Leaves the gradients of ``objective`` in the weights of ``student``."""

    def __init__(
        self,
        student: TrainableNetwork,
        teacher: TrainableNetwork | None,
        objective: TrainingGoal,
        weights: Sequence[nn.Parameter],
    ) -> None:
        self.student, self._teacher, self._objective, self._weights = student, teacher, objective, weights

    def __call__(self, batch: Batch) -> Tensor:
        """The loss, float64, shape ()."""
        return self.run(self.student.tensors(batch.feeds), self.student.labels(batch.labels), batch)

    def of_parts(self, parts: Sequence[Batch]) -> Tensor:
        """As a call on all parts together, one after the other."""
        weights = [self._objective.weight(part) for part in parts]
        self._clear()
        losses = [
            self._add(
                self.student.tensors(part.feeds), self.student.labels(part.labels), part, weight / max(1, sum(weights))
            )
            for part, weight in zip(parts, weights, strict=True)
        ]
        return torch.stack(losses).sum()

    def run(self, inputs: list[Tensor], labels: Tensor | None, batch: Batch) -> Tensor:
        """As a call, on tensors that lie where the network does; ``batch`` holds the same labels, to be checked."""
        self._clear()
        return self._add(inputs, labels, batch, 1.0)

    def _clear(self) -> None:
        for weight in self._weights:
            weight.grad = None

    def _add(self, inputs: list[Tensor], labels: Tensor | None, batch: Batch, share: float) -> Tensor:
        """Add the gradients of a ``share`` of the loss, which is returned."""
        wanted = None
        if self._teacher is not None:
            with torch.no_grad():
                wanted = self._teacher.observed(self._teacher.like(self.student, inputs))
        given = self.student.observed(inputs)
        self._objective.check(given, batch.labels)
        loss = self._objective(given, wanted, labels) * share
        torch.autograd.backward(loss)
        return loss.detach().double()


class RecordedStep:
    """A :class:`Step` as a CUDA graph: the same kernels on the same memory, launched as one."""

    def __init__(self, step: Step, batch: Batch) -> None:
        self._student = step.student
        self._inputs = [tensor.clone() for tensor in self._student.tensors(batch.feeds)]
        labels = self._student.labels(batch.labels)
        self._labels = None if labels is None else labels.clone()
        buffers = [(buffer, buffer.clone()) for buffer in self._student.module.buffers()]
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call,unused-ignore]  # torch's own stubs
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):
                step.run(self._inputs, self._labels, batch)
        torch.cuda.current_stream().wait_stream(stream)
        for buffer, before in buffers:
            buffer.copy_(before)  # the warm-ups have moved the running means of norms
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._loss = step.run(self._inputs, self._labels, batch)

    def fits(self, batch: Batch) -> bool:
        """Whether a batch has the sizes that were recorded."""
        sizes = [tuple(tensor.shape) for tensor in self._inputs]
        return sizes == [batch.feeds[spec.name].shape for spec in self._student.specs]

    def __call__(self, batch: Batch) -> Tensor:
        for kept, spec in zip(self._inputs, self._student.specs, strict=True):
            kept.copy_(torch.from_numpy(batch.feeds[spec.name]), non_blocking=True)
        if self._labels is not None and batch.labels is not None:
            self._labels.copy_(torch.from_numpy(batch.labels), non_blocking=True)
        self._graph.replay()
        return self._loss.clone()


def recorded(step: Step, batch: Batch) -> Step | RecordedStep:
    """``step`` recorded with the sizes of ``batch``, or as it is where that cannot be done.

    Random numbers would be the same in every replay,
    and a network that reads values back from the GPU cannot be recorded.
    """
    module = step.student.module
    is_random = any(isinstance(each, nn.Dropout) and each.p > 0 for each in module.modules())
    if step.student.place.device.type != "cuda" or is_random:
        return step
    try:
        return RecordedStep(step, batch)
    except RuntimeError as error:
        _LOG.info("training steps are not recorded: %s", str(error).strip().splitlines()[0])
        return step
