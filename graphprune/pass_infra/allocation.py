"""The knapsack over measured worths: one width of each MLP, or nothing of it, and each other block or nothing of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from graphprune.analysis.cost import part_cost
from graphprune.analysis.layers import find_layers
from graphprune.pass_infra.context import Context
from graphprune.pass_infra.proposals import Profiler, Proposal, Proposals
from graphprune.pass_infra.removed_block import removed_block
from graphprune.pass_infra.removed_units import removed_units
from graphprune.pass_infra.uniform_shape import Shape, kept_for_other_layers
from graphprune.plan.goal import Goal
from graphprune.plan.plan import Decision, Score
from graphprune.repair.worth import Part, Worth

_STEPS = 24  # of an MLP's width: enough for a target, few enough for the solver
_SCORES = "KL"

Choice = tuple[int, ...]
"""How many units are left of each part; 0: the whole block goes. A part without units is one unit."""


@dataclass(frozen=True)
class Allocation:
    """What the pass ``spec`` knows of ``parts``; ``worths`` are in their order."""

    spec: str
    context: Context
    parts: Sequence[Part]
    worths: Sequence[Worth]
    notes: tuple[str, ...]
    shape: Shape = "free"

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
            chosen = self._least()
            best = (present - sum(saved(index, left) for index, left in enumerate(chosen))) / dense
            what = "layer" if self.shape == "uniform" else "block"
            limit = f"at most {goal.target.kind}={best:.4g} with every {what} on offer gone"
        return self.decision(chosen, limit)

    def for_times(self, profiler: Profiler) -> Proposals:
        """The least divergence for a share of the present time."""
        widths = {part.read.group: self._widths(index) for index, part in enumerate(self.parts) if part.read}
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
            chosen = self._solved(cost, budget - 1) or self._least()
            estimate = 1 + sum(cost(index, left) for index, left in enumerate(chosen))
            return Proposal(chosen, estimate, self.decision(chosen))

        return propose

    def _solved(self, cost: Callable[[int, int], float], budget: float) -> Choice | None:
        """One width of each part; ``cost`` of a part with so many units left, all of them: 0."""
        from graphprune.plan.knapsack import Option, solve  # SciPy's solver takes longer to import than all passes

        best, least = None, np.inf
        for sets in self._offers():
            options = [
                [
                    Option(
                        number,
                        sum(self.loss(index, left) for index, left in lefts.items()),
                        sum(cost(index, left) for index, left in lefts.items()),
                    )
                    for number, lefts in enumerate(choices)
                ]
                for choices in sets
            ]
            found = solve(options, budget)
            loss = np.inf if found is None else sum(option.loss for option in found)
            if found is not None and loss < least:
                chosen: dict[int, int] = {}
                for choices, option in zip(sets, found, strict=True):
                    chosen |= choices[option.kept]
                best, least = tuple(chosen[index] for index in range(len(self.parts))), loss
        return best

    def _offers(self) -> Iterator[Sequence[Sequence[dict[int, int]]]]:
        """Knapsacks, of which the best counts: for each thing that is decided, what may be left of which parts."""
        if self.shape == "free":
            yield [[{index: left} for left in self._widths(index)] for index in range(len(self.parts))]
            return
        layers = self._layers()
        for width in self._common_widths():
            kept = [{index: width if self.parts[index].read else 1 for index in layer} for layer, _ in layers]
            yield [
                [whole, *([dict.fromkeys(whole, 0)] if may_go else [])]
                for whole, (_, may_go) in zip(kept, layers, strict=True)
            ]

    def _layers(self) -> list[tuple[list[int], bool]]:
        """The parts by layer, and whether the layer as a whole is on offer."""
        place = {part.block.join: index for index, part in enumerate(self.parts)}
        layers = find_layers(self.context.model, self.context.joins)
        longest = max(map(len, layers), default=0)  # a shorter one lacks an attention or an MLP that must stay
        found = []
        for layer in layers:
            mine = [place[block.join] for block in layer if block.join in place]
            if mine:
                found.append((mine, len(mine) == len(layer) == longest))
        return found

    def _common_widths(self) -> list[int]:
        """Those that all MLPs can have."""
        indices = [index for index, part in enumerate(self.parts) if part.read]
        groups = [part.read.group for part in self.parts if part.read]
        if not groups:
            return [1]
        widths = self._widths(indices[0])[:-1]
        return widths[:1] if kept_for_other_layers(self.context.analysis.groups, groups) else widths

    def _least(self) -> Choice:
        """With everything gone that may go."""
        if self.shape == "free":
            return tuple(0 for _ in self.parts)
        least = self._common_widths()[-1]
        left = {i: least if self.parts[i].read else 1 for i in range(len(self.parts))}
        for layer, may_go in self._layers():
            left |= dict.fromkeys(layer, 0) if may_go else {}
        return tuple(left[index] for index in range(len(self.parts)))

    def _widths(self, index: int) -> list[int]:
        """Those on offer, from all to none: multiples that the runtime likes."""
        read = self.parts[index].read
        if read is None:
            return [1, 0]
        group = read.group
        size, least = group.size, group.size - max(self.worths[index].partial, default=0)
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
