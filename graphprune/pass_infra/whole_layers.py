"""Attention and MLP of a layer as one candidate."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from graphprune.analysis.blocks import Block
from graphprune.analysis.layers import Layer
from graphprune.analysis.stages import Allowance
from graphprune.errors import NothingToPrune


def whole_layers(rules: Allowance, layers: Sequence[Layer]) -> Allowance:
    """The same rules for ``layers``: those of which every block is a candidate.

    Raises
    ------
    NothingToPrune
        There is none.
    """
    free = {block.join for block in rules.candidates}
    candidates = tuple(_together(layer) for layer in layers if all(block.join in free for block in layer))
    if not candidates:
        raise NothingToPrune("no layer can be removed as a whole", "write unit=block")
    return replace(rules, candidates=candidates)


def _together(layer: Layer) -> Block:
    """One block from the entry of the first to the exit of the last."""
    *_, last = layer
    if len(layer) == 1:
        return last
    return replace(
        last,
        name=_name([block.name for block in layer]),
        entry=layer[0].entry,
        nodes=tuple(name for block in layer for name in block.nodes),
        layers=tuple(name for block in layer for name in block.layers),
        parts=layer,
    )


def _name(names: Sequence[str]) -> str:
    """What the names of the blocks begin with: ``layers.3`` of ``layers.3/self_attn`` and ``layers.3/mlp``."""
    shared = ""
    for same in zip(*(re.findall(r"[^./]+[./]?", name) for name in names), strict=False):
        if len(set(same)) > 1:
            break
        shared += same[0]
    return shared.rstrip("./") or " + ".join(names)
