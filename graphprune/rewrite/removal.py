"""What one step takes out of a model."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from graphprune.analysis.blocks import Block
from graphprune.axes import algebra
from graphprune.axes.algebra import Kept
from graphprune.axes.typing import Typing
from graphprune.ir.model import Model


@dataclass(frozen=True)
class Removal:
    """What one step takes out of ``model``: residual blocks, or units of atoms of its ``typing``."""

    model: Model
    blocks: tuple[Block, ...] = ()
    typing: Typing | None = None
    kept: Kept = field(default_factory=dict)

    def left_of(self, name: str, values: np.ndarray) -> np.ndarray:
        """What is left of a tensor of ``model`` that the cut makes smaller: a decoder's keys and values, say."""
        for index, axis in enumerate(self.typing.axes.get(name, ()) if self.typing is not None else ()):
            mask = algebra.indices_of(axis, self.kept)
            if not mask.all():
                values = np.compress(mask, values, axis=index)
        return values
