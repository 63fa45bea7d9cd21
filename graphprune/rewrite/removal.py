"""What one step takes out of a model."""

from __future__ import annotations

from dataclasses import dataclass, field

from graphprune.analysis.blocks import Block
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
