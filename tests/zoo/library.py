"""Tiny random networks of the transformers library, made from the names of its classes.

Each is wrapped so that it takes plain tensors and returns one tensor. ``transformers`` is imported by the builders.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from zlib import crc32

import torch
from torch import Tensor, nn

from tests.zoo.entry import TRANSFORMERS, Axes, Built, Entry, Exporter
from tests.zoo.parts import randomise

VOCABULARY = 60
SEQUENCE = 7

PIXELS: Axes = {"pixel_values": {0: "batch"}}
TOKEN_IDS: Mapping[str, Any] = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
"""The special tokens within the vocabulary."""

Inputs = Callable[[], dict[str, Tensor]]

_NOTHING: Mapping[Any, Any] = MappingProxyType({})


class Wrapped(nn.Module):
    """A transformers model with positional tensor inputs and one field of its output object."""

    def __init__(self, model: nn.Module, inputs: tuple[str, ...], output: str, arguments: Mapping[str, object]) -> None:
        super().__init__()
        self.model = model
        self._inputs = inputs
        self._output = output
        self._arguments = dict(arguments)

    def forward(self, *tensors: Tensor) -> Tensor:
        named = dict(zip(self._inputs, tensors, strict=True))
        output: Tensor = getattr(self.model(**named, **self._arguments), self._output)
        return output


@dataclass(frozen=True)
class Interface:
    """How a group of models is called: the end of their class's name, inputs with their dynamic axes,
    field of the output.

    ``arguments`` are those of the call that are no tensors.
    """

    head: str
    inputs: Inputs
    dynamic: Axes
    output: str
    arguments: Mapping[str, object] = field(default_factory=dict)

    def entry(
        self,
        name: str,
        family: str,
        blocks: int,
        *,
        fast: bool = False,
        unsupported: Mapping[Exporter, str] = _NOTHING,
        fixed: Mapping[tuple[Exporter, str], str] = _NOTHING,
        fewer: Mapping[Exporter, int] = _NOTHING,
        **options: Any,
    ) -> Entry:
        """The entry of a model of ``family`` with the configuration ``options``, seeded after the family.

        Attention is written out ("eager") unless the options say otherwise.
        """

        def build() -> Built:
            import transformers

            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(crc32(family.encode()))
                config = getattr(transformers, f"{family}Config")(**{"attn_implementation": "eager", **options})
                model = getattr(transformers, f"{family}{self.head}")(config)
                tensors = self.inputs()
                module = randomise(Wrapped(model, tuple(tensors), self.output, self.arguments))
                return _with_statistics(module, tensors), tensors

        return Entry(name, build, self.dynamic, blocks, fast, TRANSFORMERS, unsupported, fixed, fewer)


def tokens() -> dict[str, Tensor]:
    """Two sentences."""
    return {"input_ids": torch.randint(0, VOCABULARY, (2, SEQUENCE))}


def masked_tokens() -> dict[str, Tensor]:
    """Two sentences, the second padded."""
    inputs = tokens()
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    inputs["attention_mask"][1, -2:] = 0
    return inputs


def noise(name: str, *shape: int) -> Inputs:
    """Two samples of normal noise."""
    return lambda: {name: torch.randn(2, *shape)}


def pixels(height: int, width: int | None = None) -> Inputs:
    """Two images, square unless a width is given."""
    return noise("pixel_values", 3, height, width or height)


def _with_statistics(module: nn.Module, tensors: Mapping[str, Tensor]) -> nn.Module:
    """Each BatchNorm with weights near one and the statistics of what it sees:
    deep networks neither die nor explode.
    """
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d)]
    with torch.no_grad():
        for norm in norms:
            norm.weight.uniform_(0.5, 1.5)
            norm.reset_running_stats()
            norm.momentum = None  # the statistics of the one call below, not a running mean
            norm.train()
        if norms:
            module(*tensors.values())
        for norm in norms:
            if norm.running_var is not None:  # one channel of a small batch may hardly vary
                norm.running_var.copy_(norm.running_var.mean() * torch.empty_like(norm.running_var).uniform_(0.5, 1.5))
    return module.eval()
