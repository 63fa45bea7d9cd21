"""Pass ``layer-cka``: remove the residual block without which the network's representation changes least.

Pons et al., "Effective Layer Pruning Through Similarity Metric Perspective" (ICPR 2024). For every candidate block i the
score is ``s_i = 1 - CKA(R, R_i)``, with R the representation of the current network on unlabelled samples and R_i the one
without the block. The lowest score goes, and the rest is scored again. In a CNN the first block of a stage is no
candidate and a stage keeps at least two blocks.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import ClassVar, Literal

import numpy as np

from graphprune.contract import Context, Pass
from graphprune.cost import Cost, part_cost
from graphprune.errors import DataError
from graphprune.importance.streaming import StreamedCKA
from graphprune.plan import Decision, RemovedBlock, Score
from graphprune.runtime.ablation import ablations
from graphprune.runtime.segments import Segments
from graphprune.structure.blocks import Block
from graphprune.structure.representation import Representation, find_representations
from graphprune.structure.stages import Allowance, allowance

_MEMORY_BUDGET_BYTES = 1 << 30
_MIN_ROWS = 3  # the centred rows of two samples are opposite: their CKA is always 1
_DEBIASED_MIN_ROWS = 8  # four in each half


@dataclass(frozen=True)
class LayerCKA(Pass):
    """Greedy removal of residual blocks by CKA between the representations with and without them."""

    name: ClassVar[str] = "layer-cka"
    paper: ClassVar[str] = "Effective Layer Pruning Through Similarity Metric Perspective, ICPR 2024"

    reference: Literal["current", "original"] = field(
        default="current", metadata={"help": "compare with the network as pruned so far, or as given"}
    )
    debiased: bool = field(default=False, metadata={"help": "debiased CKA, for more features than samples"})
    floor: int | None = field(default=None, metadata={"help": "blocks a stage keeps; auto: 2 in a CNN, else 0"})
    skip_first: bool | None = field(default=None, metadata={"help": "keep the first block of a stage; auto: in a CNN"})
    exclude: tuple[str, ...] = field(default=(), metadata={"help": "blocks to keep, by name or glob"})
    representation: tuple[str, ...] = field(
        default=(), metadata={"help": "tensors to compare; default: what the last layer reads"}
    )

    def decide(self, context: Context) -> Decision:
        rules = allowance(context.model, context.joins, self.floor, self.skip_first, self.exclude)
        costs = {block.join: part_cost(context.model, block.nodes, context.sizes) for block in rules.candidates}
        blocks = [join.block for join in context.joins if join.block]
        representations = find_representations(context.model, blocks, self.representation)
        tensors = [representation.tensor for representation in representations]
        segments: Segments | None = None
        removed: list[RemovedBlock] = []
        now = context.now
        considered = len(rules.candidates)
        while not context.is_met(now, len(removed), considered) and not (context.in_rounds and removed):
            gone = frozenset(block.join for block in removed)
            best_case = _best_case(context, rules, costs, gone, now)
            if not rules.allowed(gone) or (best_case and context.is_last):
                return Decision(str(self), tuple(removed), tuple(tensors), best_case, considered=considered)
            if segments is None:
                segments = Segments(context.model, rules.candidates, tensors, context.options)
            gone_before, seen = context.removed_before + len(removed), context.considered_before + considered
            done = context.target.progress(context.dense, now, gone_before, seen)
            context.progress(f"{self.name}: scoring blocks", round(100 * done), 100)
            allowed = rules.allowed(gone)
            scores = self._score(context, segments, representations, allowed, gone)
            best = int(np.argmin([score.score for score in scores]))
            block, cost, chosen = allowed[best], costs[allowed[best].join], scores[best]
            now = Cost(now.macs - cost.macs, now.params - cost.params)
            removed.append(
                RemovedBlock(
                    name=block.name,
                    join=block.join,
                    entry=block.entry,
                    exit=block.exit,
                    macs=cost.macs,
                    params=cost.params,
                    score=chosen.score,
                    standard_error=chosen.standard_error,
                    scores=tuple(scores),
                )
            )
        return Decision(str(self), tuple(removed), tuple(tensors), considered=considered)

    def _score(
        self,
        context: Context,
        segments: Segments,
        representations: Sequence[Representation],
        candidates: Sequence[Block],
        gone: frozenset[str],
    ) -> list[Score]:
        """``1 - CKA`` of every candidate, the mean over the representations; low = removed first."""
        scores: list[Score] = []
        chunk = _chunk_size(context, representations)
        for start in range(0, len(candidates), chunk):
            part = candidates[start : start + chunk]
            streams = [StreamedCKA(debiased=self.debiased) for _ in representations]
            for batch in ablations(
                segments,
                representations,
                part,
                gone,
                context.data,
                context.batch,
                context.options.thread_count,
                against_original=self.reference == "original",
            ):
                for index, stream in enumerate(streams):
                    stream.reference(batch.reference[index])
                    for candidate, features in enumerate(batch.candidates):
                        stream.candidate(candidate, features[index])
            self._check(context, representations, streams)
            scores += [_score(block.name, [stream.result(i) for stream in streams]) for i, block in enumerate(part)]
        return scores

    def _check(
        self, context: Context, representations: Sequence[Representation], streams: Sequence[StreamedCKA]
    ) -> None:
        """Refuse data from which no score can be computed."""
        origin = context.data.origin
        least = _DEBIASED_MIN_ROWS if self.debiased else _MIN_ROWS
        rows = min(stream.rows for stream in streams)
        if rows < least:
            raise DataError(f"{origin} gives {rows} samples to compare, {self} needs {least}", "give more data")
        if not any(stream.is_informative for stream in streams):
            names = ", ".join(f"'{representation.tensor}'" for representation in representations)
            raise DataError(
                f"the representation {names} is the same for all samples of {origin}, or not finite (NaN)",
                "give data that differ, or name other tensors with the option representation",
            )


def _score(name: str, similarities: list[tuple[float, float]]) -> Score:
    """Mean of ``1 - CKA`` over the representations; their standard errors add in squares."""
    values, errors = np.array(similarities).T
    return Score(name, float(np.mean(1 - values)), float(np.sqrt(np.sum(errors**2)) / len(errors)))


def _chunk_size(context: Context, representations: Sequence[Representation]) -> int:
    """How many candidates fit the memory budget at once."""
    each = 0
    for representation in representations:
        shape = context.sizes[representation.tensor]
        by_channel = representation.layout == "channels" or len(shape) <= 2
        width = prod(shape[1:2]) if by_channel else shape[-1]
        rows_per_sample = 1 if by_channel else prod(shape[1:-1])
        each += StreamedCKA.memory_bytes((context.data.limit or sys.maxsize) * rows_per_sample, width)
    return max(1, _MEMORY_BUDGET_BYTES // max(1, each))


def _best_case(context: Context, rules: Allowance, costs: dict[str, Cost], gone: frozenset[str], now: Cost) -> str:
    """Why the target is out of reach even if everything allowed went; empty when it is not. Found before scoring."""
    kind = context.target.kind
    weight = {join: cost.params if kind == "params" else cost.macs for join, cost in costs.items()}
    further = rules.most(gone, weight)
    macs = now.macs - sum(costs[block.join].macs for block in further)
    params = now.params - sum(costs[block.join].params for block in further)
    considered = len(rules.candidates)
    if context.is_met(Cost(macs, params), len(gone) + len(further), considered):
        return ""
    removed = context.removed_before + len(gone) + len(further)
    best = context.target.reached(context.dense, Cost(macs, params), removed, context.considered_before + considered)
    return f"at most {kind}={best:.4g} with {removed} blocks gone, because of {rules.rules}"
