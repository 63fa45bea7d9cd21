"""What the zoo knows about a network: how to build it, which axes are dynamic, what is expected of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor, nn

Built = tuple[nn.Module, dict[str, Tensor]]
"""A module, and example inputs for it in the order of its parameters."""

Exporter = Literal["dynamo", "torchscript"]
Axes = Mapping[str, Mapping[int, str]]
"""Input name -> axis -> name of the symbolic dimension."""

EXPORTERS: tuple[Exporter, ...] = ("dynamo", "torchscript")

IMAGE: Axes = {"image": {0: "batch"}}
TEXT: Axes = {"input_ids": {0: "batch", 1: "sequence"}}
MASKED: Axes = {**TEXT, "attention_mask": {0: "batch", 1: "sequence"}}
TRANSFORMERS = ("transformers",)


@dataclass(frozen=True)
class Entry:
    """One network of the zoo.

    ``blocks`` is the number of residual blocks that can be removed, known from the architecture. ``requires`` are the
    packages it needs beside torch. ``fast`` entries are those that CI runs. ``unsupported`` gives the reason why an
    exporter cannot export it, ``fixed`` the reason why an exporter fixes a dimension that should be dynamic. ``fewer``
    is how many blocks are found in what an exporter writes, where its way of writing hides some.
    """

    name: str
    builder: Callable[[], Built]
    dynamic: Axes
    blocks: int
    fast: bool = False
    requires: tuple[str, ...] = ()
    unsupported: Mapping[Exporter, str] = field(default_factory=dict)
    fixed: Mapping[tuple[Exporter, str], str] = field(default_factory=dict)
    fewer: Mapping[Exporter, int] = field(default_factory=dict)

    def axes(self, exporter: Exporter) -> Axes:
        """The axes that are dynamic in what ``exporter`` writes."""
        return {
            key: {axis: name for axis, name in axes.items() if (exporter, name) not in self.fixed}
            for key, axes in self.dynamic.items()
        }

    def removable(self, exporter: Exporter) -> int:
        """The blocks that can be removed from what ``exporter`` writes."""
        return self.fewer.get(exporter, self.blocks)
