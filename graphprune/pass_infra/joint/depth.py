"""Which layer of the present network the depth child goes without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from graphprune.analysis.cost import part_cost
from graphprune.analysis.layers import Layer, find_layers
from graphprune.analysis.stages import allowance
from graphprune.errors import NothingToPrune
from graphprune.pass_infra.context import Context
from graphprune.pass_infra.removed_block import removed_block
from graphprune.plan.plan import Decision
from graphprune.scoring.angular import token_blocks, turns
from graphprune.segments.runner import Segments

Depth = Literal["third-to-last", "angular"]

_FROM_THE_END = 3


def without_a_layer(context: Context, depth: Depth, exclude: Sequence[str]) -> Decision | None:
    """The network in ``context`` without one layer; None where none may go.

    ``third-to-last`` is the authors' rule, or where that layer may not go the next before it; ``angular`` takes the
    layer that turns the stream least. Layers with a block that ``exclude`` names stay.
    """
    layers = find_layers(context.model, context.joins)
    removable = _removable(context, exclude)
    free = [layer for layer in layers if all(block.join in removable for block in layer)]
    if depth == "third-to-last":
        end = len(layers) - _FROM_THE_END
        free = [layer for layer in layers[: end + 1] if layer in free] if end >= 0 else []
        chosen, scores = free[-1:], [0.0] * len(free)
    else:
        found = _turns(context, free) if free else []
        scores = [distance for distance, _ in found]
        chosen = [free[int(np.argmin(scores))]] if free else []
    if not chosen:
        return None
    score = scores[free.index(chosen[0])]
    return Decision("", blocks=tuple(removed_block(context, block, score) for block in chosen[0]))


def layer_cost(context: Context, layer: Layer) -> tuple[int, int]:
    """MACs and parameters of a layer."""
    costs = [part_cost(context.model, block.nodes, context.sizes) for block in layer]
    return sum(cost.macs for cost in costs), sum(cost.params for cost in costs)


def _removable(context: Context, exclude: Sequence[str]) -> set[str]:
    """Joins of the blocks that may go."""
    try:
        rules = allowance(context.model, context.joins, 0, False, exclude)
    except NothingToPrune:
        return set()
    return {block.join for block in rules.candidates}


def _turns(context: Context, layers: Sequence[Layer]) -> list[tuple[float, float]]:
    """From the entry of each layer's first block to the exit of its last."""
    blocks = [block for layer in layers for block in layer]
    execution = context.execution
    return turns(
        Segments.at_blocks(context.model, blocks, [], execution.runtime),
        [replace(layer[-1], entry=layer[0].entry) for layer in layers],
        frozenset(),
        context.data,
        execution.batch,
        execution.runtime.thread_count,
        "cosine",
        token_blocks(context.model, context.joins, context.sizes),
    )
