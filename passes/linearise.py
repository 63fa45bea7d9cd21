"""Pass ``linearise``: replace the residual branch whose fitted linear map is missed least by the network's outputs.

Erdogan et al., "Efficient Large Language Model Inference with Neural Block Linearization" (arXiv 2505.21077): attention
becomes ``x + x A + b``, with A and b by least squares, and its cache goes with it. The paper ranks attentions by a
bound from canonical correlations; here any block that is dearer than its map is a candidate, and is judged by what the
outputs lose with the map in place, on top of those that are already chosen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import numpy as np

from graphprune.analysis.blocks import Block, Join
from graphprune.analysis.cost import Cost
from graphprune.analysis.layers import is_attending
from graphprune.analysis.model_analysis import ModelAnalysis
from graphprune.analysis.refusals import Refusal
from graphprune.analysis.representation import find_representations
from graphprune.analysis.stages import allowance
from graphprune.data.dataset import Data
from graphprune.decoder.interface import decoder_interface
from graphprune.errors import OptionError
from graphprune.pass_infra.base import Choices, Pass
from graphprune.pass_infra.context import Context
from graphprune.pass_infra.greedy_blocks import Greedy
from graphprune.pass_infra.proposals import ByMacs, Profiler, Proposals
from graphprune.pass_infra.removed_block import removed_block
from graphprune.plan.goal import Goal
from graphprune.plan.plan import Decision, RemovedBlock, Score
from graphprune.repair.linear_trials import LinearTrials
from graphprune.repair.stage import Method
from graphprune.rewrite.linear_map import LinearMap, linear_maps, saved

_SAMPLES, _OF_A_DECODER = 32, 4
_BY_COUNT = ("removed", "ratio", "rule")


@dataclass(frozen=True)
class Linearise(Pass):
    """Residual blocks, each replaced by one linear map that is fitted to the samples."""

    name: ClassVar[str] = "linearise"
    paper: ClassVar[str] = (
        "Efficient Large Language Model Inference with Neural Block Linearization, arXiv 2505.21077; judged by outputs"
    )

    among: Literal["all", "attention", "mlp"] = field(
        default="all", metadata={"help": "which blocks: all that are dearer than a map, attentions, or all others"}
    )
    exclude: tuple[str, ...] = field(default=(), metadata={"help": "blocks to keep, by name or glob"})
    samples: int | None = field(
        default=None, metadata={"help": "samples that judge the maps, all are fitted to; auto: 32, of a decoder 4"}
    )
    shortlist: int = field(default=8, metadata={"help": "maps that are judged anew after each choice: the best so far"})

    def requires(self, context: Context) -> None:
        if self.samples is not None and self.samples < 1:
            raise OptionError(f"{self} judges maps on {self.samples} samples", "give 1 or more")
        if self.shortlist < 1:
            raise OptionError(f"{self} judges the best {self.shortlist} maps anew", "give shortlist=1 or more")

    def own_repair(self, analysis: ModelAnalysis, data: Data) -> tuple[Method, ...] | None:
        """None in a decoder: its maps have been fitted to what the network feeds them, and nothing else is cut."""
        return () if decoder_interface(analysis.model) is not None else None

    def decide(self, context: Context) -> Decision:
        with ExitStack() as stack:
            return self.choices(context, stack)(context.goal)

    def choices(self, context: Context, stack: ExitStack) -> Choices:
        joins, maps = self._offered(context)
        rules = allowance(context.model, joins, 0, skip_first=False, exclude=self.exclude)
        maps = {block.join: maps[block.join] for block in rules.candidates}
        costs = {join: saved(context.model, map_, context.sizes) for join, map_ in maps.items()}
        representations = find_representations(context.model, rules.candidates)
        samples = self.samples or (_OF_A_DECODER if decoder_interface(context.model) is not None else _SAMPLES)
        trials = LinearTrials(
            context.model, list(maps.values()), context.data, samples, representations, context.execution
        )
        prices: dict[str, float] = {}  # as they were last seen

        def next_of(gone: Greedy, goal: Goal) -> Iterator[RemovedBlock]:
            done = goal.progress(gone.now, gone.steps, len(maps))
            context.execution.progress(f"{self.name}: judging maps", round(100 * done), 100)
            allowed = self._shortlisted(rules.allowed(gone.joins), prices)
            before = gone.removed[-1].score if gone.removed else 0.0
            tried = trials.judge([block.join for block in allowed])
            scores = [
                Score(block.name, trial.loss, trial.standard_error, {"unexplained": trials.unexplained[block.join]})
                for block, trial in zip(allowed, tried, strict=True)
            ]
            for block, score in zip(allowed, scores, strict=True):
                prices[block.join] = (score.score - before) / _worth(goal, costs[block.join])
            best = int(np.argmin([prices[block.join] for block in allowed]))
            trials.settle(allowed[best].join)
            yield _linearised(context, maps[allowed[best].join], costs[allowed[best].join], scores, best)

        frame = Decision(str(self), considered=len(maps), score_title=trials.title)
        choose = Greedy(context, rules, frame, next_of, costs)
        return lambda goal: needed(goal, context.analysis.cost, choose(goal))

    def proposals(self, context: Context, profiler: Profiler) -> Proposals:
        """As for a share of the MACs, all from one fit."""
        choose = self.choices(context, ExitStack())  # nothing is left open
        return ByMacs(lambda asked: choose(asked.goal), context)

    def _shortlisted(self, allowed: list[Block], prices: Mapping[str, float]) -> list[Block]:
        """All at first; then those that were the best when last judged, in order of execution."""
        if not prices:
            return allowed
        best = sorted((block.join for block in allowed), key=prices.__getitem__)[: self.shortlist]
        return [block for block in allowed if block.join in best]

    def _offered(self, context: Context) -> tuple[list[Join], dict[str, LinearMap]]:
        """All joins, those without a block that are no candidates, and the maps of the candidates."""
        joins: list[Join] = []
        maps: dict[str, LinearMap] = {}
        found = linear_maps(context.analysis, context.joins)
        for join, map_ in zip(context.joins, found, strict=True):
            refusal = map_ if isinstance(map_, Refusal) else self._refusal(context, map_)
            if refusal is None and isinstance(map_, LinearMap):
                maps[join.node] = map_
                joins.append(join)
            else:
                joins.append(replace(join, block=None, refusal=refusal))
        return joins, maps

    def _refusal(self, context: Context, map_: LinearMap) -> Refusal | None:
        nodes, block = context.analysis.flow.nodes, map_.block
        is_attention = any(is_attending(nodes[name]) for name in block.nodes)
        if self.among != "all" and is_attention != (self.among == "attention"):
            return Refusal("not-asked-for", f"{block.name} is not among={self.among}")
        if saved(context.model, map_, context.sizes).macs <= 0:
            return Refusal("linear-dearer", f"a linear map in place of {block.name} costs no fewer MACs")
        return None


def needed(goal: Goal, cost: Cost, decision: Decision) -> Decision:
    """``decision`` for a network of this cost without blocks that the target does without, since a later one saved so
    much: first the one that saves most.
    """
    blocks = list(decision.blocks)
    for block in sorted(decision.blocks, key=lambda block: -block.macs):
        others = [each for each in blocks if each is not block]
        macs, params = (sum(getattr(each, what) for each in others) for what in ("macs", "params"))
        left = Cost(cost.macs - macs, cost.params - params)
        if others and goal.is_met(left, len(others), decision.considered):
            blocks = others
    return replace(decision, blocks=tuple(blocks))


def _worth(goal: Goal, cost: Cost) -> float:
    """What the target makes of a map that saves so much: where blocks are counted, each is worth the same."""
    kind = goal.target.kind
    if kind in _BY_COUNT:
        return 1.0
    return float(max(1, cost.params if kind == "params" else cost.macs))


def _linearised(context: Context, map_: LinearMap, cost: Cost, scores: list[Score], chosen: int) -> RemovedBlock:
    found = removed_block(context, map_.block, scores[chosen].score, scores[chosen].standard_error, tuple(scores))
    return replace(found, macs=cost.macs, params=cost.params, is_linearised=True)
