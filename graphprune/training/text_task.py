"""Whether data are text for a language model, and the training material then."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from graphprune.data.batching import Arrays
from graphprune.data.dataset import Data, TokenNames
from graphprune.decoder.interface import decoder_interface
from graphprune.ir.model import Model
from graphprune.training.loop import Material
from graphprune.training.network import TrainableNetwork
from graphprune.training.next_tokens import answer_of, looks_ahead, with_next_tokens


@dataclass(frozen=True)
class TextTask:
    """Where the tokens are, and which output gives the scores of the next ones."""

    names: TokenNames
    answer: int


def task_of(model: Model, data: Data) -> TextTask | None:
    """How ``data`` are text, if they are: token ids, with an empty cache, for scores at each of them."""
    answer, interface = answer_of(model), decoder_interface(model)
    if data.tokens is None or answer is None:
        return None
    pasts = {tensor.past for tensor in interface.cache} if interface is not None else set()
    if any(array.size for name, array in data.first(1).items() if name in pasts):
        return None
    return TextTask(data.tokens, answer)


def if_causal(task: TextTask, student: TrainableNetwork, data: Data) -> TextTask | None:
    """The task, unless the network reads what it would have to guess."""

    def scores(feeds: Arrays) -> torch.Tensor:
        with torch.no_grad():
            return student(feeds)[task.answer]

    return None if looks_ahead(scores, data.first(1), task.names) else task


def material_of(material: Material, names: TokenNames) -> Material:
    """The same with next tokens for labels."""
    return replace(
        material,
        train=lambda epoch, steps: (with_next_tokens(batch, names) for batch in material.train(epoch, steps)),
        held_out=lambda: (with_next_tokens(batch, names) for batch in material.held_out()),
    )
