"""What all passes that remove residual blocks share: greedy removal, the rules of the stages, and what is compared."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, TypeVar

import numpy as np

from graphprune.analysis.blocks import Block
from graphprune.analysis.cost import part_cost
from graphprune.analysis.layers import find_layers
from graphprune.analysis.representation import Representation, find_representations
from graphprune.analysis.stages import allowance
from graphprune.errors import OptionError
from graphprune.pass_infra.after_repair import RESCORE_HELP, TITLES, Judge, Rescore, Rescoring, check, wants
from graphprune.pass_infra.base import Choices, Pass
from graphprune.pass_infra.block_proposals import Prefixes
from graphprune.pass_infra.block_scores import BlockScoring
from graphprune.pass_infra.context import Context
from graphprune.pass_infra.greedy_blocks import Greedy
from graphprune.pass_infra.proposals import EstimatedTimes, Profiler, Proposals
from graphprune.pass_infra.reach import joins_in_reach
from graphprune.pass_infra.removed_block import removed_block
from graphprune.pass_infra.savings import PER_HELP, Per, Savings
from graphprune.pass_infra.scored_samples import on_few
from graphprune.pass_infra.turns import shortlisted
from graphprune.pass_infra.whole_layers import whole_layers
from graphprune.plan.goal import Goal
from graphprune.plan.plan import Decision, RemovedBlock, Score
from graphprune.scoring.blocks import FeatureComparison, compare_blocks
from graphprune.segments.runner import Segments

R = TypeVar("R")

_MEMORY_BUDGET_BYTES = 1 << 30
_JUDGED = 16  # blocks, after repair
_JUDGED_ON = 96  # samples
_SAMPLES_HELP = "samples to score by; auto: all, of a decoder 8,192 tokens, where blocks are judged after repair 96"
_MOST_HELP = "blocks (with unit=layer: layers) that it takes at most; a pass behind it goes on to the target"


@dataclass(frozen=True)
class BlockPass(Pass):
    """Base of passes that remove the residual block with the lowest score, score the rest again, and so on.

    In a CNN the first block of a stage is no candidate and a stage keeps at least two blocks, as in the papers.
    ``score_title`` heads the column of the scores in tables.
    """

    score_title: ClassVar[str]
    sees_bodies: ClassVar[bool] = True
    """Whether it can score a block in the body of an If, Loop or Scan, of which no activations are to be had."""

    reference: Literal["current", "original"] = field(
        default="current", metadata={"help": "compare with the network as pruned so far, or as given"}
    )
    unit: Literal["block", "layer"] = field(
        default="block",
        metadata={"help": "what goes at a time and counts as one: a block, or attention and MLP of a layer"},
    )
    per: Per = field(default="block", metadata={"help": PER_HELP})
    most: int | None = field(default=None, metadata={"help": _MOST_HELP})
    floor: int | None = field(default=None, metadata={"help": "blocks a stage keeps; auto: 2 in a CNN, else 0"})
    skip_first: bool | None = field(default=None, metadata={"help": "keep the first block of a stage; auto: in a CNN"})
    exclude: tuple[str, ...] = field(default=(), metadata={"help": "blocks to keep, by name or glob"})
    representation: tuple[str, ...] = field(
        default=(), metadata={"help": "tensors to compare; default: what the last layer reads"}
    )
    rescore: Rescore = field(default="none", metadata={"help": RESCORE_HELP})
    judge: Judge = field(default="error", metadata={"help": "by squared error or CKA of the repaired representation"})
    shortlist: int | None = field(
        default=None,
        metadata={"help": "try this many: those that turn the stream least; judged after repair: the lowest scores"},
    )
    samples: int | None = field(default=None, metadata={"help": _SAMPLES_HELP})
    refits: int = field(default=2, metadata={"help": "layers behind a block that are refitted to judge it"})

    @abstractmethod
    def score(self, scoring: BlockScoring, candidates: Sequence[Block]) -> list[Score]:
        """The score of every candidate; low = removed first."""

    @abstractmethod
    def memory_bytes(self, rows: int, width: int) -> int:
        """At most what one candidate takes in memory after ``rows`` rows of ``width`` features."""

    def compared_tensors(self, context: Context, blocks: Sequence[Block]) -> list[Representation]:
        """What two versions of the network are compared by."""
        return find_representations(context.model, blocks, self.representation)

    def rows_held(self, scoring: BlockScoring, representation: Representation) -> int:
        """How many rows of a candidate are in memory at once, at most."""
        return scoring.row_limit(representation)

    def choose(self, scores: Sequence[Score]) -> int:
        """Which of the candidates goes: the lowest score, of equals the first."""
        return int(np.argmin([score.score for score in scores]))

    def tried(self, scoring: BlockScoring, candidates: Sequence[Block]) -> list[Block]:
        """The candidates that are to be scored: those on the shortlist."""
        return shortlisted(scoring, candidates, len(candidates) if self.shortlist is None else self.shortlist)

    def requires(self, context: Context) -> None:
        if self.shortlist is not None and self.shortlist < 1:
            raise OptionError(f"option shortlist of {self} is {self.shortlist}", "give 1 or more")
        if self.samples is not None and self.samples < 1:
            raise OptionError(f"option samples of {self} is {self.samples}", "give 1 or more")
        if self.most is not None and self.most < 1:
            raise OptionError(f"option most of {self} is {self.most}", "give 1 or more, or leave the pass out")

    def decide(self, context: Context) -> Decision:
        return self._decided(context, None)

    def _decided(self, context: Context, times: EstimatedTimes | None) -> Decision:
        with ExitStack() as stack:
            return self._choices(context, stack, times)(context.goal)

    def choices(self, context: Context, stack: ExitStack) -> Choices:
        return self._choices(context, stack, None)

    def _choices(self, context: Context, stack: ExitStack, times: EstimatedTimes | None) -> Choices:
        is_rescored = wants(self.rescore, context) and self.unit == "block"
        looks_inside = not self.sees_bodies or is_rescored or self.shortlist is not None
        joins, notes = joins_in_reach(context, needs_activations=looks_inside)
        rules = allowance(context.model, joins, self.floor, self.skip_first, self.exclude)
        if self.unit == "layer":
            if self.rescore == "repaired":
                raise OptionError(f"{self} judges single blocks after repair", "write rescore=none, or unit=block")
            rules = whole_layers(rules, find_layers(context.model, joins))
        rules = rules.at_most(self.most, str(self))
        costs = {block.join: part_cost(context.model, block.nodes, context.sizes) for block in rules.candidates}
        savings = Savings.of(self.per, context.analysis.cost, costs, rules.candidates, times)
        blocks = [join.block for join in joins if join.block]
        representations = self.compared_tensors(context, blocks)
        tensors = [representation.tensor for representation in representations]
        if not is_rescored and (self.needs_data or self.shortlist is not None):
            context, told = on_few(context, self.samples)
            notes = [*notes, *told]
        # opened when first needed
        pieces = [piece for block in rules.candidates for piece in block.pieces]
        segments = Segments.at_blocks(context.model, pieces, tensors, context.execution.runtime)
        second = stack.enter_context(self._rescoring(context, representations)) if is_rescored else None

        def next_of(gone: Greedy, goal: Goal) -> Iterator[RemovedBlock]:
            """The entries of the block that goes next, which may have several pieces."""
            done = goal.progress(gone.now, gone.steps, len(rules.candidates))
            context.execution.progress(f"{self.name}: scoring blocks", round(100 * done), 100)
            allowed = rules.allowed(gone.joins)
            if second is None:
                earlier = gone.removed[-1].scores if gone.removed else ()
                asked = replace(context, goal=goal)
                scoring = BlockScoring(asked, segments, representations, gone.joins, gone.notes, earlier)
                allowed = self.tried(scoring, allowed)
                scores = self.score(scoring, allowed)
                best = self.choose(savings.weighed(allowed, scores, 0.0))
            else:
                allowed, scores = self._rescored(second, segments, allowed, gone.notes)
                lost = gone.removed[-1].score if gone.removed else 0.0  # these are judged against the original
                best = second.settle(allowed, savings.weighed(allowed, scores, lost))
            yield from _removals(context, allowed[best], scores, best)

        title = TITLES[self.judge] if is_rescored else self.score_title
        frame = Decision(
            str(self),
            representations=tuple(tensors),
            considered=len(rules.candidates),
            notes=tuple(notes),
            score_title=title,
        )
        return Greedy(context, rules, frame, next_of, costs)

    def proposals(self, context: Context, profiler: Profiler) -> Proposals:
        table = profiler.table(context.analysis, {}, {})
        return Prefixes(lambda asked: self._decided(asked, table), context, table)

    def _rescoring(self, context: Context, representations: Sequence[Representation]) -> Rescoring:
        shortlist = _JUDGED if self.shortlist is None else self.shortlist
        samples = _JUDGED_ON if self.samples is None else self.samples
        check(context, str(self), shortlist, samples, self.refits)
        return Rescoring(context, representations, self.judge, shortlist, samples, self.refits)

    def _rescored(
        self, second: Rescoring, origin: Segments, candidates: Sequence[Block], notes: list[str]
    ) -> tuple[list[Block], list[Score]]:
        """The candidates that come first by the pass's own score, in the network repaired so far,
        judged after their repair.
        """
        here = second.blocks(candidates)
        scoring = BlockScoring(
            second.context, second.segments(here, origin), second.representations, frozenset(), notes
        )
        first, scores = second.judged(here, self.score(scoring, here))
        return [candidates[index] for index in first], scores

    def compared(
        self, scoring: BlockScoring, candidates: Sequence[Block], make: Callable[[], FeatureComparison[R]]
    ) -> list[list[R]]:
        """For every candidate the results of one comparison per representation, on all of the data.

        ``make`` begins a comparison; it may be sent to another process.

        Raises
        ------
        DataError
            Nothing can be told from the data.
        """
        context = scoring.context
        results: list[list[R]] = []
        for part in self._parts(scoring, candidates):
            comparisons = compare_blocks(
                scoring.segments,
                scoring.representations,
                part,
                scoring.gone,
                context.data,
                context.execution.batch,
                context.execution.runtime.thread_count,
                make,
                against_original=self.reference == "original",
                workers=context.execution.workers,
            )
            scoring.refuse_useless(comparisons, str(self))
            results += [list(each) for each in zip(*(c.results for c in comparisons), strict=True)]
        return results

    def _parts(self, scoring: BlockScoring, candidates: Sequence[Block]) -> list[Sequence[Block]]:
        """The candidates in portions that fit the memory at once, of each worker its own."""
        rows = {r: self.rows_held(scoring, r) for r in scoring.representations}
        needed_bytes = sum(self.memory_bytes(count, scoring.width(r)) for r, count in rows.items())
        size = max(1, _MEMORY_BUDGET_BYTES // max(1, needed_bytes))
        size *= 1 if scoring.context.execution.workers is None else scoring.context.execution.workers.count
        return [candidates[start : start + size] for start in range(0, len(candidates), size)]


def _removals(context: Context, block: Block, scores: Sequence[Score], chosen: int) -> Iterator[RemovedBlock]:
    """The entries of the plan for the candidate ``chosen``, which is ``block``; the last tells all scores."""
    for piece in block.pieces:
        told = tuple(scores) if piece is block.pieces[-1] else ()
        entry = removed_block(context, piece, scores[chosen].score, scores[chosen].standard_error, told)
        yield entry if piece is block.pieces[-1] else replace(entry, is_part=True)
