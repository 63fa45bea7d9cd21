"""Text as a task: the next token, and what the unpruned network expects of it. Padding is no token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from graphprune.data.batching import Batch
from graphprune.data.dataset import TokenNames
from graphprune.ir.model import Model
from graphprune.training.judgement import Judgement

IGNORED = -100
"""The label of a place that is followed by padding, or by nothing."""
_ROWS = 128  # places whose shares of all tokens are in memory at a time
_LOOKED_AHEAD = 1e-3  # of the largest score, as in graphprune.evaluation.language


@dataclass(frozen=True)
class NextTokens:
    """The loss of a batch: cross-entropy of the next token, and divergence (KL) from the unpruned network's shares.

    Both are means over tokens, in nats. Labels are (N, S), int64, :data:`IGNORED` where there is no next token.
    """

    label_weight: float
    distil_weight: float
    temperature: float
    is_text: ClassVar[bool] = True

    def __call__(self, given: Sequence[Tensor], wanted: Sequence[Tensor] | None, labels: Tensor | None) -> Tensor:
        """Float32, shape (); ``given[0]`` and ``wanted[0]`` are scores (N, S, tokens)."""
        return self._losses(given, wanted, labels)[0]

    def check(self, given: Sequence[Tensor], labels: np.ndarray | None) -> None:
        """Next tokens were read from the inputs; there is nothing to refuse."""

    def weight(self, batch: Batch) -> int:
        """How many tokens are learnt from."""
        return 0 if batch.labels is None else int((batch.labels != IGNORED).sum())

    def judge(
        self, given: Sequence[Tensor], wanted: Sequence[Tensor] | None, labels: Tensor | None, batch: Batch
    ) -> Judgement:
        """The loss, and the nats of the next tokens alone."""
        loss, nats = self._losses(given, wanted, labels)
        return Judgement(float(loss), self.weight(batch), nats=float(nats))

    def _losses(
        self, given: Sequence[Tensor], wanted: Sequence[Tensor] | None, labels: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        assert labels is not None  # text always has next tokens
        scores, targets = given[0].flatten(0, 1), labels.flatten()
        teacher = wanted[0].flatten(0, 1) if wanted is not None and self.distil_weight else None
        found: tuple[Tensor, Tensor] = _TokenLoss.apply(scores, targets, teacher, self)  # type: ignore[no-untyped-call,unused-ignore]  # torch's own stubs
        return found


class _TokenLoss(torch.autograd.Function):
    """The loss with its gradient, some rows at a time: no more than that of ``scores`` is kept for the way back."""

    @staticmethod
    def forward(
        ctx: Any, scores: Tensor, targets: Tensor, teacher: Tensor | None, how: NextTokens
    ) -> tuple[Tensor, Tensor]:
        nats, divergence = scores.new_zeros((), dtype=torch.float32), scores.new_zeros((), dtype=torch.float32)
        gradient = torch.empty_like(scores) if ctx.needs_input_grad[0] else None
        count = (targets != IGNORED).sum().clamp_min(1)
        for start in range(0, len(scores), _ROWS):
            rows = slice(start, start + _ROWS)
            is_kept = (targets[rows] != IGNORED).unsqueeze(1)
            right, own = targets[rows].clamp_min(0).unsqueeze(1), scores[rows].float()
            log_shares = torch.log_softmax(own, 1)
            nats -= (log_shares.gather(1, right) * is_kept).sum()
            slope = None
            if gradient is not None:
                slope = log_shares.exp_().scatter_add_(1, right, -torch.ones_like(right, dtype=torch.float32))
                slope *= how.label_weight
            if teacher is not None:
                mine = torch.log_softmax(own / how.temperature, 1)
                theirs = torch.log_softmax(teacher[rows].float() / how.temperature, 1)
                shares = theirs.exp()
                divergence += ((shares * (theirs - mine)).sum(1, keepdim=True) * is_kept).sum()
                if slope is not None:  # of T^2 KL, which keeps it as large as that of the next tokens
                    slope += how.distil_weight * how.temperature * (mine.exp_() - shares)
            if gradient is not None and slope is not None:
                gradient[rows] = slope * is_kept / count
        ctx.gradient = gradient
        nats, divergence = nats / count, divergence / count
        loss = how.label_weight * nats + how.distil_weight * how.temperature**2 * divergence
        ctx.mark_non_differentiable(nats)
        return loss, nats

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        return ctx.gradient * slopes[0], None, None, None


def answer_of(model: Model) -> int | None:
    """Which output holds scores [N, S, tokens] of the next token, if one does; see :func:`looks_ahead`."""
    names = [tensor.name for tensor in model.graph.outputs]
    index = next((place for place, name in enumerate(names) if name.endswith("logits")), 0)
    return index if len(model.shapes.get(names[index], ())) == 3 else None


def looks_ahead(scores: Any, feeds: dict[str, np.ndarray], names: TokenNames) -> bool:
    """Whether the last token changes what is said of those before it: no language model, then.

    ``scores`` gives (N, S, tokens) of ``feeds``.
    """
    ids = feeds[names.ids]
    before = scores(feeds)
    if tuple(before.shape[:2]) != ids.shape:
        return True
    other = ids.copy()
    other[:, -1] = (ids[:, -1] + 1) % before.shape[2]
    gap = (scores({**feeds, names.ids: other})[:, :-1] - before[:, :-1]).abs()
    return bool(gap.numel() and gap.max() > _LOOKED_AHEAD * before.abs().max())


def with_next_tokens(batch: Batch, names: TokenNames) -> Batch:
    """The batch with its next tokens as labels."""
    ids, mask = batch.feeds[names.ids], batch.feeds.get(names.mask)
    labels = np.full(ids.shape, IGNORED, np.int64)
    labels[:, :-1] = ids[:, 1:]
    if mask is not None:
        is_token = mask[:, -ids.shape[1] :].astype(bool)
        labels[:, :-1][~(is_token[:, :-1] & is_token[:, 1:])] = IGNORED
    return replace(batch, labels=labels)
