"""The knapsack over measured worths: one width of each MLP, or nothing of it, and each other block or nothing of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from graphprune.analysis.cost import part_cost
from graphprune.pass_infra.context import Context
from graphprune.pass_infra.proposals import Profiler, Proposal, Proposals
from graphprune.pass_infra.removed_block import removed_block
from graphprune.pass_infra.removed_units import removed_units
from graphprune.plan.goal import Goal
from graphprune.plan.plan import Decision, Score
from graphprune.repair.worth import Part, Worth

_STEPS = 24  # of an MLP's width: enough for a target, few enough for the solver
_SCORES = "KL"

Choice = tuple[int, ...]
"""How many units are left of each part; 0: the whole block goes. A part without units is one unit."""


@dataclass(frozen=True)
class Allocation:
    """What the pass ``spec`` knows of ``parts``."""

    spec: str
    context: Context
    parts: Sequence[Part]
    worths: Sequence[Worth]
    notes: tuple[str, ...]

    def for_cost(self, goal: Goal) -> Decision:
        """The least divergence that meets a target of parameters or MACs."""
        analysis = self.context.analysis
        now = analysis.cost
        is_params = goal.target.kind == "params"
        present, dense = (now.params, goal.dense.params) if is_params else (now.macs, goal.dense.macs)
        cost = analysis.typed_cost()
        wholes = [part_cost(analysis.model, part.block.nodes, analysis.sizes) for part in self.parts]

        def saved(index: int, left: int) -> float:
            read = self.parts[index].read
            if left == 0:
                return wholes[index].params if is_params else wholes[index].macs
            if read is None:
                return 0
            saving = cost.saving(read.group.atom, left)
            return saving.params if is_params else saving.macs

        need = present - goal.target.value * dense
        chosen = self._solved(lambda index, left: -saved(index, left), -need)
        limit = ""
        if chosen is None:
            chosen = tuple(0 for _ in self.parts)
            best = (present - sum(saved(index, 0) for index in range(len(self.parts)))) / dense
            limit = f"at most {goal.target.kind}={best:.4g} with every block on offer gone"
        return self.decision(chosen, limit)

    def for_times(self, profiler: Profiler) -> Proposals:
        """The least divergence for a share of the present time."""
        widths = {part.read.group: self._widths(part) for part in self.parts if part.read}
        multiples = self.context.widths.measured()
        levels = {group.atom: [left for left in lefts[1:] if left] for group, lefts in widths.items()}
        steps = {group.atom: multiples.of(group.kind, group.size) for group in widths}
        table = profiler.table(self.context.analysis, levels, steps)
        without = [table.without(part.block.layers) for part in self.parts]

        def cost(index: int, left: int) -> float:
            read = self.parts[index].read
            if left == 0:
                return without[index] - 1
            if read is None:
                return 0.0
            atom = read.group.atom
            return table.group_share(atom, left, {}) - table.group_share(atom, atom.size, {})

        def propose(budget: float) -> Proposal[Decision]:
            chosen = self._solved(cost, budget - 1) or tuple(0 for _ in self.parts)
            estimate = 1 + sum(cost(index, left) for index, left in enumerate(chosen))
            return Proposal(chosen, estimate, self.decision(chosen))

        return propose

    def _solved(self, cost: Callable[[int, int], float], budget: float) -> Choice | None:
        """One width of each part; ``cost`` of a part with so many units left, all of them: 0."""
        from graphprune.plan.knapsack import Option, solve  # SciPy's solver takes longer to import than all passes

        options = [
            [Option(left, self.loss(index, left), cost(index, left)) for left in self._widths(part)]
            for index, part in enumerate(self.parts)
        ]
        found = solve(options, budget)
        return None if found is None else tuple(option.kept for option in found)

    def _widths(self, part: Part) -> list[int]:
        """Those on offer, from all to none: multiples that the runtime likes."""
        if part.read is None:
            return [1, 0]
        group, worth = part.read.group, next(each for each in self.worths if each.join == part.block.join)
        size, least = group.size, group.size - max(worth.partial, default=0)
        multiple = self.context.widths.measured().of(group.kind, size)
        step = max(1, -(-size // _STEPS // multiple)) * multiple
        return [size, *(left for left in range(size - 1, 0, -1) if left % step == 0 and left >= least), 0]

    def loss(self, index: int, left: int) -> float:
        """The divergence with so many units left; on straight lines between what was measured."""
        worth, read = self.worths[index], self.parts[index].read
        if left == 0:
            return float(np.mean(worth.whole))
        if read is None:
            return 0.0
        known = {0: 0.0} | {gone: float(np.mean(values)) for gone, values in worth.partial.items()}
        counts = sorted(known)
        losses = np.maximum.accumulate([known[count] for count in counts])  # nothing gains by going
        return float(np.interp(read.group.size - left, counts, losses))

    def decision(self, chosen: Choice, limit: str = "") -> Decision:
        """In the plan's words."""
        analysis = self.context.analysis
        scores = tuple(_score(part, worth) for part, worth in zip(self.parts, self.worths, strict=True))
        blocks, groups, losses, removed = [], [], [], {}
        for part, worth, score, left in zip(self.parts, self.worths, scores, chosen, strict=True):
            block = part.block
            if left == 0:
                blocks.append(removed_block(self.context, block, score.score, score.standard_error, scores))
            elif part.read is not None and left < part.read.group.size:
                groups.append(part.read.group)
                losses.append(np.array(worth.losses))
                order = np.argsort(losses[-1], kind="stable")
                removed[part.read.group.atom] = np.sort(order[: part.read.group.size - left])
        return Decision(
            self.spec,
            blocks=tuple(blocks),
            units=removed_units(groups, losses, removed, analysis.typed_cost()),
            limit=limit,
            considered=sum(part.read.group.size if part.read else 1 for part in self.parts),
            notes=self.notes,
            score_title=_SCORES,
        )


def _score(part: Part, worth: Worth) -> Score:
    values = np.array(worth.whole)
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
    return Score(part.block.name, float(values.mean()), error)
