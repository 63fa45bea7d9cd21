"""Pass ``layer-pls``: cut a stage off where what its joins say about the classes first drops.

Jordao et al.'s discriminative layers (DepthWisePruning): the output of every join is averaged in windows of 8 x 8 and
put into a partial least squares model of the labels; the join's figure is the mean variable importance in projection
(VIP). Going through the joins of a stage, at the first that is below the one before, the tail of the stage goes.

Where it departs from the authors: the tail of the stage goes, not of the network; what has weights behind the last
stage, the classifier, stays as it is; and the rules of the stages hold, so that two blocks stay (``floor=1``: theirs).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from graphprune.analysis.blocks import Block, Join
from graphprune.analysis.cost import Cost
from graphprune.analysis.stages import Allowance, allowance, is_cnn
from graphprune.errors import OptionError
from graphprune.pass_infra.base import Pass
from graphprune.pass_infra.context import Context
from graphprune.pass_infra.removed_block import removed_block
from graphprune.plan.plan import Decision, RemovedBlock, Score
from graphprune.plan.target import OWN_RULE, Target
from graphprune.scoring.join_vip import join_vips
from graphprune.scoring.vip import OWN_LABELS_NOTE

_TITLE = "mean VIP"


@dataclass(frozen=True)
class LayerPLS(Pass):
    """The end of a stage, from where its blocks say less about the classes (mean VIP); wants labels."""

    name: ClassVar[str] = "layer-pls"
    paper: ClassVar[str] = "Deep Network Compression Based on Partial Least Squares, Neurocomputing 2020"

    stage: int = field(default=-1, metadata={"help": "whose tail may go: 0 is the first stage, -1 the last"})
    components: int = field(default=4, metadata={"help": "components of the PLS models"})
    window: int = field(default=8, metadata={"help": "side of the averaged windows of a map; 0: the whole map"})
    floor: int | None = field(default=None, metadata={"help": "blocks a stage keeps; auto: 2 in a CNN, else 0"})
    skip_first: bool | None = field(default=None, metadata={"help": "keep the first block of a stage; auto: in a CNN"})
    exclude: tuple[str, ...] = field(default=(), metadata={"help": "blocks to keep, by name or glob"})

    def requires(self, context: Context) -> None:
        if self.components < 1 or self.window < 0:
            raise OptionError(f"{self} has an option that is too small", "give components=1 and window=0, or more")

    def own_target(self) -> Target | None:
        return OWN_RULE

    def decide(self, context: Context) -> Decision:
        rules = allowance(context.model, context.joins, self.floor, self.skip_first, self.exclude)
        stage = self._stage(context.joins)
        mine = [block for block in rules.candidates if rules.stage_of[block.join] == stage[0].stage]
        if context.goal.is_met(context.analysis.cost, 0, len(mine)):
            return Decision(str(self), considered=len(mine), score_title=_TITLE)
        if len(stage) < 2 or not set(mine) & set(rules.allowed(frozenset())):
            limit = f"stage {stage[0].stage} has no block that may go, because of {rules.rules}"
            return Decision(str(self), considered=len(mine), limit=limit, score_title=_TITLE)
        scores, notes = self._scores(context, stage)
        values = [score.score for score in scores]
        drop = next((place for place in range(1, len(stage)) if values[place] < values[place - 1]), len(stage))
        gone, limit = self._tail(context, rules, stage[drop:], scores, len(mine))
        return Decision(
            str(self),
            blocks=tuple(gone),
            representations=tuple(join.output for join in stage),
            limit=limit,
            considered=len(mine),
            notes=notes,
            score_title=_TITLE,
        )

    def _stage(self, joins: Sequence[Join]) -> list[Join]:
        """The joins of the stage asked for."""
        numbers = sorted({join.stage for join in joins if join.stage >= 0})
        if not -len(numbers) <= self.stage < len(numbers):
            raise OptionError(
                f"there is no stage {self.stage}: the network has {len(numbers)}", "graphprune inspect lists the joins"
            )
        return [join for join in joins if join.stage == numbers[self.stage]]

    def _scores(self, context: Context, stage: Sequence[Join]) -> tuple[list[Score], tuple[str, ...]]:
        execution, total = context.execution, context.data.limit or 0
        figures, is_labelled = join_vips(
            context.model,
            [join.output for join in stage],
            context.data,
            execution.batch,
            execution.runtime,
            is_maps=is_cnn(context.model, context.joins),
            window=self.window,
            components=self.components,
            progress=lambda done: execution.progress(f"{self.name}: features", done, total),
        )
        scores = [
            Score(join.name, figure.mean, figure.standard_error) for join, figure in zip(stage, figures, strict=True)
        ]
        return scores, () if is_labelled else (OWN_LABELS_NOTE,)

    def _tail(
        self, context: Context, rules: Allowance, tail: Sequence[Join], scores: Sequence[Score], considered: int
    ) -> tuple[list[RemovedBlock], str]:
        """What goes, from the end, and what ended it before a target did."""
        goal, now = context.goal, context.analysis.cost
        figure = {score.unit: score for score in scores}
        gone: list[RemovedBlock] = []
        while goal.target == OWN_RULE or not goal.is_met(now, len(gone), considered):
            block = self._last(rules, tail, gone)
            if block is None:
                break
            score = figure[block.name]
            gone.append(removed_block(context, block, score.score, score.standard_error))
            now = Cost(now.macs - gone[-1].macs, now.params - gone[-1].params)
        if gone:
            gone[0] = replace(gone[0], scores=tuple(scores))
        if (goal.target == OWN_RULE and gone) or goal.is_met(now, len(gone), considered):
            return gone, ""
        if not tail:
            return gone, f"the mean VIP of the stage's joins ({', '.join(figure)}) drops nowhere"
        rule = f"the cut at {tail[0].name}, where the mean VIP first drops, and {rules.rules}"
        if not gone:
            return gone, f"no block may go, because of {rule}"
        reached = goal.reached(now, len(gone), considered)
        return gone, f"at most {goal.target.kind}={reached:.4g} with {len(gone)} blocks gone, because of {rule}"

    @staticmethod
    def _last(rules: Allowance, tail: Sequence[Join], gone: Sequence[RemovedBlock]) -> Block | None:
        joins = {join.node for join in tail}
        allowed = rules.allowed(frozenset(block.join for block in gone))
        return next((block for block in reversed(allowed) if block.join in joins), None)
