"""From parent to parent: two children, the same repair for both, and the arbiter's choice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from graphprune.analysis.cost import Cost, part_cost
from graphprune.analysis.stages import allowance
from graphprune.data.dataset import Data
from graphprune.errors import GraphpruneError, NothingToPrune
from graphprune.pass_infra.block_pass import BlockPass
from graphprune.pass_infra.context import Context
from graphprune.pass_infra.joint.children import Match, matched
from graphprune.pass_infra.joint.judge import Judge
from graphprune.pass_infra.joint.network import Network
from graphprune.pass_infra.joint.split import split
from graphprune.pass_infra.joint.widths import Widths
from graphprune.pass_infra.unit_pass import UnitPass, matches
from graphprune.plan.goal import Goal
from graphprune.plan.plan import Decision, RemovedBlock, TrajectoryPoint
from graphprune.plan.target import Target

_ALONE = 0.9
"""Where no block may go, a step takes units until this share of the cost is left, as in the papers on filters."""


@dataclass(frozen=True)
class Search:
    """One run of a joint pass: ``layers`` finds the block that may go, ``units`` what competes with it (None: nothing),
    which the trajectory calls ``unit_kind``; ``compared`` are the tensors to judge by, where the user named some."""

    spec: str
    layers: BlockPass
    compared: tuple[str, ...]
    units: UnitPass | None
    unit_kind: str
    match: Match
    judge: Judge
    repairs: bool
    samples: int

    def run(self, context: Context) -> Iterator[Decision]:
        """A decision per step, until the target is met, or with the limit that stands before it."""
        fit, held_out = split(context.data, self.samples)
        first = parent = Network.first(context.analysis, self.compared)
        notes: tuple[str, ...] = (
            f"children were chosen{' and repaired' if self.repairs else ''} with the even ones of the first "
            f"{self.samples} samples, {self.judge.how} on the odd ones",
        )
        limit = self._best_case(context) if context.goal.is_last else ""
        number = 0
        while not limit and not context.goal.is_met(parent.cost):
            share = context.goal.progress(parent.cost)
            context.execution.progress(f"step {number + 1}", round(100 * share), 100)
            children = self._children(context, fit, first, parent, number)
            if not children:
                limit = self._limit(context, parent.cost)
                break
            coin = np.random.default_rng([context.seed, context.goal.removed_before, number, 1])
            parent, decision = self._judged(context, held_out, parent, children, coin)
            yield replace(decision, notes=notes)
            notes, number = (), number + 1
            if context.goal.in_rounds:
                return
        if limit or not number:
            yield Decision(self.spec, limit=limit)

    def _children(
        self, context: Context, fit: Data, first: Network, parent: Network, number: int
    ) -> list[tuple[str, Network]]:
        """What can be made of ``parent``, the layer child first; both repaired."""
        execution = context.execution
        inside = replace(context, analysis=parent.analysis, data=fit, goal=Goal(context.goal.target, parent.cost))
        children: list[tuple[str, Network]] = []
        layer: Network | None = None
        block = self._block(inside)
        if block is not None:
            layer = parent.after(block, fit, execution.runtime)
            children.append(("layer", layer))
        random = np.random.default_rng([context.seed, context.goal.removed_before, number])
        units = self._units(context, inside, parent, layer, random)
        if units is not None:
            children.append((self.unit_kind, parent.after(units, fit, execution.runtime)))
        if not self.repairs:
            return children
        return [(kind, child.repaired(first, parent, fit, execution)) for kind, child in children]

    def _block(self, inside: Context) -> Decision | None:
        try:
            decision = self.layers.decide(replace(inside, goal=replace(inside.goal, target=Target("removed", 1))))
        except NothingToPrune:
            return None
        return decision if decision.blocks else None

    def _units(
        self, context: Context, inside: Context, parent: Network, layer: Network | None, random: np.random.Generator
    ) -> Decision | None:
        """A child that is not worth what the layer child is would be judged too well: then there is none."""
        if self.units is None:
            return None
        try:
            widths = Widths(_still(self.units, inside), inside)
        except NothingToPrune:
            return None
        if layer is not None:
            decision = matched(widths, parent, layer, self.match, inside, random)
            return None if decision.limit else decision
        decision = widths.down_to(Target(context.goal.target.kind, max(_ALONE, _share_left(context, parent))))
        return decision if decision.units else None

    def _judged(
        self,
        context: Context,
        held_out: Data,
        parent: Network,
        children: list[tuple[str, Network]],
        coin: np.random.Generator,
    ) -> tuple[Network, Decision]:
        """The child that goes on, and what it took as the plan tells it."""
        verdict = self.judge.of(parent, children, held_out, context.execution, coin)
        best, scores = verdict.best, verdict.scores
        (kind, winner), rival = children[best], 1 - best
        decision = winner.decision
        assert decision is not None  # children come from one
        is_alone = len(children) == 1
        step = TrajectoryPoint(
            kind=kind,
            removed=(
                *(block.name for block in decision.blocks),
                *(f"{units.group}: {len(units.removed)} of {units.size}" for units in decision.units),
            ),
            macs=winner.cost.macs,
            params=winner.cost.params,
            score=scores[best] if scores else None,
            arbiter=self.judge.title,
            rival_kind=None if is_alone else children[rival][0],
            rival_score=None if is_alone or not scores else scores[rival],
        )
        return winner, replace(decision, spec=self.spec, limit="", considered=0, notes=(), trajectory=(step,))

    def _best_case(self, context: Context) -> str:
        """Why the target is out of reach even if everything allowed went; empty when it is not.
        Found before scoring.
        """
        network = Network(context.analysis, ())
        try:
            blocks = self._all_blocks(context)
            if blocks.blocks:
                network = network.after(blocks, context.data, context.execution.runtime)
        except GraphpruneError:  # one after the other they may go, all at once leave nothing to compute
            return ""
        cost = network.analysis.typed_cost()
        inside = replace(context, analysis=network.analysis)
        try:
            groups = _still(self.units, inside).eligible(inside) if self.units is not None else []
        except NothingToPrune:
            groups = []
        for group in groups:
            cost.keep(group.atom, 1)
        return "" if context.goal.is_met(cost.cost) else self._limit(context, cost.cost)

    def _all_blocks(self, context: Context) -> Decision:
        """Everything that the rules of the stages allow, the heaviest first."""
        layers = self.layers
        try:
            rules = allowance(context.model, context.joins, layers.floor, layers.skip_first, layers.exclude)
        except NothingToPrune:
            return Decision(self.spec)
        weight = {b.join: part_cost(context.model, b.nodes, context.sizes).macs for b in rules.candidates}
        blocks = rules.most(frozenset(), weight)
        return Decision(self.spec, tuple(RemovedBlock(b.name, b.join, b.entry, b.exit, 0, 0, 0.0, 0.0) for b in blocks))

    def _limit(self, context: Context, cost: Cost) -> str:
        layers, rules = self.layers, "no block may go"
        with suppress(NothingToPrune):
            rules = allowance(context.model, context.joins, layers.floor, layers.skip_first, layers.exclude).rules
        kept = "one unit of each group staying" if self.units is not None else "there being no groups to cut"
        kind = context.goal.target.kind
        return f"at most {kind}={context.goal.reached(cost):.4g}, because of {rules} and {kept}"


def _still(units: UnitPass, context: Context) -> UnitPass:
    """The criterion with those of its patterns that still match: a block takes the groups inside it along."""
    groups = context.analysis.groups
    return replace(
        units, exclude=tuple(each for each in units.exclude if any(matches(each, group) for group in groups))
    )


def _share_left(context: Context, parent: Network) -> float:
    """How much of the parent's cost the target wants to stay."""
    target, dense = context.goal.target, context.goal.dense
    if target.kind == "params":
        return target.value * dense.params / max(1, parent.cost.params)
    return target.value * dense.macs / max(1, parent.cost.macs)
