"""Attentions that leave a decoder as a whole: those that the outputs miss least, one after another.

"2SSP" (arXiv 2501.17771) has the rule for how many, and takes them by what a few sequences lose.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from graphprune.analysis.blocks import Block
from graphprune.analysis.cost import part_cost
from graphprune.analysis.layers import find_layers
from graphprune.analysis.stages import Allowance, allowance
from graphprune.errors import NothingToPrune
from graphprune.pass_infra.context import Context
from graphprune.pass_infra.removed_block import removed_block
from graphprune.plan.plan import RemovedBlock, Score
from graphprune.repair.judged import Judged
from graphprune.runtime.blas import blas_threads
from graphprune.runtime.sessions import Feeds
from graphprune.segments.runner import Environment, Segments

_SHORTLIST = 4  # beside as many as are still to go: what costs more is not tried again
_TEMPER = 1.5  # of the rule


def attention_count(attentions: int, share: float, mlp_params: float, attention_params: float) -> int:
    """How many of so many go where a ``share`` of the parameters of attentions and MLPs does."""
    return round(attentions * float(share ** (mlp_params / attention_params / _TEMPER)))


@dataclass(frozen=True)
class Attentions:
    """The attention sub-layers that can go each by itself, and the ``mlps`` behind them; in order of execution."""

    context: Context
    rules: Allowance
    blocks: tuple[Block, ...]
    mlps: tuple[Block, ...]

    @classmethod
    def of(cls, context: Context, may_go: Callable[[Block], bool]) -> Attentions | None:
        """Those that ``may_go``; None where there are none."""
        try:
            rules = allowance(context.model, context.joins, 0, False, ())
        except NothingToPrune:
            return None
        free = {block.join for block in rules.candidates if may_go(block)}
        layers = [layer for layer in find_layers(context.model, context.joins) if len(layer) > 1]
        layers = [layer for layer in layers if layer[0].join in free]
        return cls(context, rules, tuple(a for a, *_ in layers), tuple(b for _, b, *_ in layers)) if layers else None

    def params(self, blocks: Sequence[Block]) -> int:
        """Of some of them."""
        return sum(part_cost(self.context.model, block.nodes, self.context.sizes).params for block in blocks)

    def count(self, params: float) -> int:
        """By the rule, where so many parameters are to go of all."""
        own, other = self.params(self.blocks), self.params(self.mlps)
        return attention_count(len(self.blocks), min(1.0, params / (own + other)), other, own) if own else 0

    def least_missed(self, count: int, samples: int) -> list[RemovedBlock]:
        """``count`` of them, or fewer where the rest must stay; so many ``samples`` judge."""
        context, output = self.context, self.context.model.graph.outputs[0].name
        segments = Segments.at_blocks(context.model, self.blocks, [output], context.execution.runtime)
        few = context.data.at_most(samples)
        feeds = [batch.feeds for batch in few.batches(1)]
        judges: list[Judged] = []
        gone: list[Block] = []
        removed: list[RemovedBlock] = []
        shortlist = self.blocks
        while len(gone) < count:
            allowed = {block.join for block in self.rules.allowed(frozenset(block.join for block in gone))}
            tried = [block for block in shortlist if block.join in allowed]
            if not tried:
                break
            context.execution.progress("leaving attentions out", len(gone), count)
            scores = _scores(segments, feeds, judges, tried, gone, output, context.execution.runtime.thread_count)
            order = np.argsort([score.score for score in scores], kind="stable").tolist()
            best = order[0]
            removed.append(
                removed_block(context, tried[best], scores[best].score, scores[best].standard_error, tuple(scores))
            )
            gone.append(tried[best])
            shortlist = tuple(tried[index] for index in order[1 : count - len(gone) + _SHORTLIST + 1])
        return removed


def _scores(
    segments: Segments,
    feeds: Sequence[Feeds],
    judges: list[Judged],
    tried: Sequence[Block],
    gone: Sequence[Block],
    output: str,
    threads: int,
) -> list[Score]:
    """The divergence without each of the blocks ``tried``, those ``gone`` being away; ``judges`` are made at first."""
    joins = frozenset(block.join for block in gone)
    values = np.zeros((len(feeds), len(tried)))
    assert segments.model is not None
    with blas_threads(1), ThreadPoolExecutor(threads) as pool:
        for number, sample in enumerate(feeds):
            env = segments.run(sample, joins)
            if number == len(judges):  # at first nothing is gone
                judges.append(Judged(segments.model, sample, env[output].numpy()))
            judged = judges[number]

            def divergence(block: Block, env: Environment = env, judged: Judged = judged) -> float:
                return judged.divergence(segments.without(env, block, joins)[output].numpy())

            values[number] = list(pool.map(divergence, tried))
    means = values.mean(axis=0)
    errors = values.std(axis=0, ddof=1) / np.sqrt(len(feeds)) if len(feeds) > 1 else np.zeros(len(tried))
    return [
        Score(block.name, float(mean), float(error)) for block, mean, error in zip(tried, means, errors, strict=True)
    ]
