"""What the loop asks of a loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from torch import Tensor

from graphprune.data.batching import Batch
from graphprune.training.judgement import Judgement


class TrainingGoal(Protocol):
    """The loss of a batch; outputs are lists in the order of the graph's, ``wanted`` those of the unpruned network."""

    @property
    def is_text(self) -> bool:
        """Whether labels are next tokens, so that a batch falls into parts of unequal weight."""
        ...

    def __call__(self, given: Sequence[Tensor], wanted: Sequence[Tensor] | None, labels: Tensor | None) -> Tensor:
        """Mean over the batch, float32, shape ()."""
        ...

    def check(self, given: Sequence[Tensor], labels: np.ndarray | None) -> None:
        """Refuse labels that count and do not fit."""
        ...

    def weight(self, batch: Batch) -> int:
        """How much a batch counts beside others."""
        ...

    def judge(
        self, given: Sequence[Tensor], wanted: Sequence[Tensor] | None, labels: Tensor | None, batch: Batch
    ) -> Judgement:
        """What held-out samples say."""
        ...
