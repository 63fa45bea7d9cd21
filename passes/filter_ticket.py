"""Pass ``filter-ticket``: the filters that an untrained network misses least, as many as ``layer-ticket`` would take.

The baseline of "When Layers Play the Lottery, all Tickets Win at Initialization": the same figures, SNIP or GraSP, of
single filters. With ``layers=P`` filters go until their number is as near as possible to that of the convolutions in
the P blocks that ``layer-ticket`` takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from graphprune.analysis.groups import Group
from graphprune.analysis.model_analysis import ModelAnalysis
from graphprune.analysis.roles import weight_axes
from graphprune.axes import algebra
from graphprune.data.dataset import Data
from graphprune.errors import OptionError
from graphprune.ir.model import constant_dims
from graphprune.pass_infra.context import Context
from graphprune.pass_infra.joint.match import filter_count
from graphprune.pass_infra.unit_pass import UnitPass
from graphprune.passes.layer_ticket import TRAINED_NOTE, LayerTicket, weighed
from graphprune.plan.goal import Goal
from graphprune.plan.plan import Decision
from graphprune.plan.target import OWN_RULE, Target
from graphprune.repair.stage import Method
from graphprune.rewrite.initialise import seed_of
from graphprune.scoring.saliency import Pool, Saliency


@dataclass(frozen=True)
class FilterTicket(UnitPass):
    """Filters and neurons of a network that is not trained yet, by SNIP or GraSP; needs labels and PyTorch."""

    name: ClassVar[str] = "filter-ticket"
    paper: ClassVar[str] = "When Layers Play the Lottery, all Tickets Win at Initialization"
    kinds: ClassVar[tuple[str, ...]] = ("filters", "neurons", "conv-groups")

    criterion: Saliency = field(
        default="snip", metadata={"help": "|weight x gradient|, or weight x (Hessian x gradient); score says the same"}
    )
    pool: Pool = field(default="sum", metadata={"help": "over the weights of a filter: their sum or mean"})
    batch: int = field(default=128, metadata={"help": "samples in a batch, by which norms normalise"})
    layers: int | None = field(
        default=None, metadata={"help": "take as many filters as so many blocks of layer-ticket have; auto: the target"}
    )

    def requires(self, context: Context) -> None:
        super().requires(context)
        if self.layers is not None and self.layers < 1:
            raise OptionError(f"option layers of {self} is {self.layers}", "give 1 or more")
        if self.layers is not None and context.goal.target != OWN_RULE:
            raise OptionError(f"{self} takes as much as layer-ticket, not {context.goal.target}", "leave out --target")

    def own_target(self) -> Target | None:
        return super().own_target() if self.layers is None else OWN_RULE

    @classmethod
    def from_options(cls, options: dict[str, str]) -> Self:
        """Build from ``key=value`` texts; ``score`` is another name of ``criterion``."""
        return super().from_options({"criterion" if key == "score" else key: text for key, text in options.items()})

    def own_repair(self, analysis: ModelAnalysis, data: Data) -> tuple[Method, ...] | None:
        """None: weights that are drawn are not to be fitted to samples."""
        return ()

    def score(self, context: Context, groups: Sequence[Group]) -> tuple[list[NDArray[np.float64]], tuple[str, ...]]:
        figures = weighed(self.name, context, self.criterion, self.batch)
        notes = () if seed_of(context.model) is not None else (TRAINED_NOTE,)
        return [self._of_units(context, group, figures) for group in groups], notes

    def choose(
        self, context: Context, groups: Sequence[Group], scores: Sequence[NDArray[np.float64]], notes: tuple[str, ...]
    ) -> Decision:
        if self.layers is None:
            return super().choose(context, groups, scores, notes)
        asked = self._filters_of_layers(context, self.layers)
        filters = {group.name: _filters(context, group) for group in groups}
        context = replace(context, widths=replace(context.widths, align=1))

        def taken(units: int) -> tuple[Decision, float]:
            goal = Goal(Target("removed", units), context.goal.dense)
            decision = super(FilterTicket, self).choose(replace(context, goal=goal), groups, scores, notes)
            return decision, sum(len(each.removed) * filters[each.group] for each in decision.units)

        units = max(1, int(asked / max(1.0, *filters.values())))
        decision, count = taken(units)
        while count < asked and not decision.limit:
            units += 1
            following, more = taken(units)
            if abs(more - asked) > abs(count - asked):
                break
            decision, count = following, more
        note = f"{count:g} filters go; the {self.layers} blocks of layer-ticket have {asked}"
        return replace(decision, limit="", notes=(*decision.notes, note))

    def _filters_of_layers(self, context: Context, layers: int) -> int:
        """The filters in the blocks that ``layer-ticket`` takes."""
        ticket = LayerTicket(criterion=self.criterion, pool=self.pool, batch=self.batch)
        gone = ticket.decide(replace(context, goal=Goal(Target("removed", layers), context.goal.dense)))
        if len(gone.blocks) < layers:
            raise OptionError(f"layer-ticket cannot take {layers} blocks: {gone.limit}", "ask for fewer layers")
        blocks = {join.node: join.block for join in context.joins if join.block}
        return filter_count(context.model, (name for block in gone.blocks for name in blocks[block.join].layers))

    def _of_units(self, context: Context, group: Group, figures: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """The pooled figures (size,) of the weights that write each unit."""
        nodes = {node.name: node for node in context.model.graph.nodes}
        written = {
            (*place.constant, place.axis)
            for name in group.writers
            for place in weight_axes(nodes[name])
            if place.is_output
        }
        sums, counts = np.zeros(group.size), np.zeros(group.size)
        for use in group.uses:
            values = figures.get(nodes[use.node].inputs[use.operand].name) if use.node in nodes else None
            if values is None or (use.node, use.operand, use.axis) not in written:
                continue
            axis = context.analysis.typing.constants[use.node, use.operand][use.axis]
            positions = algebra.positions_of(axis, group.atom)
            mine = positions >= 0
            rows = np.moveaxis(values, use.axis, 0).reshape(values.shape[use.axis], -1)
            sums += np.bincount(positions[mine], rows.sum(1)[mine], minlength=group.size)
            counts += rows.shape[1] * np.bincount(positions[mine], minlength=group.size)
        return sums if self.pool == "sum" else np.asarray(sums / np.maximum(counts, 1))


def _filters(context: Context, group: Group) -> float:
    """How many filters of convolutions a unit of ``group`` is."""
    nodes = {node.name: node for node in context.model.graph.nodes}
    written = sum(constant_dims(nodes[name].inputs[1])[0] for name in group.writers if nodes[name].op == "Conv")
    return written / group.size
