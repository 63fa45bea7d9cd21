"""A removed block in the words of a plan."""

from __future__ import annotations

from graphprune.analysis.blocks import Block
from graphprune.analysis.cost import part_cost
from graphprune.pass_infra.context import Context
from graphprune.plan.plan import RemovedBlock, Score


def removed_block(
    context: Context, block: Block, score: float, standard_error: float = 0.0, scores: tuple[Score, ...] = ()
) -> RemovedBlock:
    """``block`` of the network in ``context`` with what it costs; ``scores`` are those of all that were tried."""
    cost = part_cost(context.model, block.nodes, context.sizes)
    return RemovedBlock(
        name=block.name,
        join=block.join,
        entry=block.entry,
        exit=block.exit,
        macs=cost.macs,
        params=cost.params,
        score=score,
        standard_error=standard_error,
        scores=scores,
    )
