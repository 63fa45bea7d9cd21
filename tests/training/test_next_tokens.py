"""The loss on text: that of the plain formula, with its gradient, and padding counts nowhere."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs it")

import torch
from torch.nn import functional

from graphprune.data.batching import Batch
from graphprune.data.dataset import TokenNames
from graphprune.training import next_tokens
from graphprune.training.judgement import Judgement, Verdict
from graphprune.training.next_tokens import IGNORED, NextTokens, looks_ahead, with_next_tokens

NAMES = TokenNames("ids", "mask")
IDS = np.array([[3, 1, 4, 1, 5], [2, 7, 1, 8, 2]])


def drawn(seed: int) -> torch.Tensor:
    return torch.randn((2, 5, 9), generator=torch.Generator().manual_seed(seed))


def test_the_label_of_a_token_is_the_next_and_padding_has_none() -> None:
    mask = np.array([[1, 1, 1, 1, 1], [0, 1, 1, 1, 0]])
    batch = with_next_tokens(Batch({"ids": IDS, "mask": mask}, None), NAMES)
    assert batch.labels is not None
    assert batch.labels.tolist() == [[1, 4, 1, 5, IGNORED], [IGNORED, 1, 8, IGNORED, IGNORED]]
    longer = np.concatenate([np.ones((2, 3), np.int64), mask], 1)  # a mask that counts a past, too
    same, all_tokens = (
        with_next_tokens(Batch(feeds, None), NAMES).labels for feeds in ({"ids": IDS, "mask": longer}, {"ids": IDS})
    )
    assert same is not None and same.tolist() == batch.labels.tolist()
    assert all_tokens is not None and all_tokens[1].tolist() == [7, 1, 8, 2, IGNORED]
    assert NextTokens(1, 1, 1).weight(batch) == 6


@pytest.mark.parametrize("rows", [1, 3, 100])
@pytest.mark.parametrize("weights", [(1.0, 0.0, 1.0), (0.0, 1.0, 2.0), (0.7, 0.3, 3.0)])
def test_loss_and_gradient_are_those_of_the_formula(
    weights: tuple[float, float, float], rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(next_tokens, "_ROWS", rows)
    own, plain, teacher = drawn(0).requires_grad_(), drawn(0).requires_grad_(), drawn(1)
    labels = torch.tensor([[1, 4, 1, 5, IGNORED], [IGNORED, 1, 8, IGNORED, IGNORED]])
    loss = NextTokens(*weights)([own], [teacher], labels)
    label_weight, distil_weight, temperature = weights
    kept = labels != IGNORED
    right = functional.cross_entropy(plain[kept], labels[kept])
    apart = functional.kl_div(
        torch.log_softmax(plain[kept] / temperature, 1),
        torch.log_softmax(teacher[kept] / temperature, 1),
        reduction="batchmean",
        log_target=True,
    )
    expected = label_weight * right + distil_weight * temperature**2 * apart
    torch.autograd.backward(2 * loss)
    torch.autograd.backward(2 * expected)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(own.grad, plain.grad)


def test_without_a_teacher_only_the_next_tokens_count() -> None:
    labels = torch.from_numpy(IDS)
    loss = NextTokens(1.0, 1.0, 2.0)([drawn(0)], None, labels)
    torch.testing.assert_close(loss, functional.cross_entropy(drawn(0).flatten(0, 1), labels.flatten()))


def test_a_verdict_is_over_tokens_not_batches() -> None:
    verdict = Verdict()
    verdict.add(Judgement(1.0, 30, nats=np.log(2.0)))
    verdict.add(Judgement(4.0, 10, nats=np.log(32.0)))
    assert verdict.loss == pytest.approx(1.75)
    assert verdict.perplexity == pytest.approx(2.0**2)
    assert verdict.score is None
    verdict.add(Judgement(0.0, 40, nats=1e9))
    assert verdict.perplexity == float("inf")


def test_who_reads_later_tokens_is_no_language_model() -> None:
    table = drawn(2)[0]

    def causal(feeds: dict[str, np.ndarray]) -> torch.Tensor:
        return table[torch.from_numpy(feeds["ids"]) % 5].cumsum(1)

    def whole(feeds: dict[str, np.ndarray]) -> torch.Tensor:
        return causal(feeds) + causal(feeds).mean(1, keepdim=True)

    assert not looks_ahead(causal, {"ids": IDS}, NAMES)
    assert looks_ahead(whole, {"ids": IDS}, NAMES)
    assert looks_ahead(lambda feeds: causal(feeds)[:, :1], {"ids": IDS}, NAMES)
