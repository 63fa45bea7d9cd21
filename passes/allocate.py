"""Pass ``allocate``: how much of each MLP goes, and which attentions, so that the outputs move least.

What a part is worth is measured, not guessed: the divergence (KL) of the outputs from the original's without a quarter,
half or three quarters of an MLP's neurons, after the layer that reads the rest has been refitted, or without the whole
block. A knapsack picks a width of each MLP, and what else goes, such that the target is met. The measuring is done once
and kept in the cache: a plan for another target takes seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import ClassVar

from graphprune.analysis.blocks import Block
from graphprune.analysis.model_analysis import ModelAnalysis
from graphprune.data.dataset import Data
from graphprune.errors import NothingToPrune, OptionError
from graphprune.pass_infra.allocation import Allocation
from graphprune.pass_infra.base import Pass
from graphprune.pass_infra.context import Context
from graphprune.pass_infra.proposals import Profiler, Proposals
from graphprune.pass_infra.uniform_shape import SHAPE_HELP, Shape
from graphprune.pass_infra.walk import walked
from graphprune.pass_infra.walk_ways import after
from graphprune.pass_infra.worth_cache import measured_worths
from graphprune.plan.plan import Decision
from graphprune.repair.stage import Method
from graphprune.repair.walk import ReadGroup, read_group
from graphprune.repair.worth import Part

_TARGETS = ("flops", "params", "latency")


@dataclass(frozen=True)
class Allocate(Pass):
    """Neurons of each MLP and whole blocks, as much of each as the outputs miss least; for language models."""

    name: ClassVar[str] = "allocate"
    paper: ClassVar[str] = "HALP, arXiv 2210.06659, on measured divergences"
    is_coarse: ClassVar[bool] = False

    samples: int = field(default=2, metadata={"help": "samples that judge; the others are fitted to"})
    attention: bool = field(default=True, metadata={"help": "whether blocks without neurons may go as a whole"})
    exclude: tuple[str, ...] = field(default=(), metadata={"help": "blocks to keep, by name or glob"})
    shape: Shape = field(default="free", metadata={"help": SHAPE_HELP})
    walk: bool = field(
        default=False,
        metadata={
            "help": "choose the neurons once more in the walk that refits their readers, on what the pruned network "
            "gives; without, a plan takes seconds"
        },
    )

    def requires(self, context: Context) -> None:
        if self.samples < 1:
            raise OptionError(f"pass allocate cannot judge on {self.samples} samples", "give one or more")
        if context.goal.target.kind not in _TARGETS:
            raise OptionError(
                f"pass allocate weighs neurons against blocks and cannot count both for {context.goal.target}",
                "give --target params=, flops= or latency=",
            )

    def decide(self, context: Context) -> Decision:
        if context.goal.is_met(context.analysis.cost):
            return Decision(str(self))
        decision = self._allocation(context).for_cost(context.goal)
        return self._chosen_anew(context, decision) if self.walk and decision.units else decision

    def _chosen_anew(self, context: Context, decision: Decision) -> Decision:
        """The same widths, with the neurons that a walk chooses."""
        inner = after(context, Decision("", blocks=decision.blocks)) if decision.blocks else context
        names = {units.group for units in decision.units}
        return walked(inner, [group for group in inner.analysis.groups if group.name in names], decision)

    def proposals(self, context: Context, profiler: Profiler) -> Proposals:
        return self._allocation(context).for_times(profiler)

    def own_repair(self, analysis: ModelAnalysis, data: Data) -> tuple[Method, ...] | None:
        return None if data.kind == "synthetic" else ("walk",)

    def _allocation(self, context: Context) -> Allocation:
        parts = self._parts(context)
        worths, notes = measured_worths(context, parts, self.samples)
        return Allocation(str(self), context, parts, worths, notes, self.shape)

    def _parts(self, context: Context) -> Sequence[Part]:
        """Every block on offer, in order, with the neurons in it.

        Raises
        ------
        NothingToPrune
            There is none.
        """
        analysis = context.analysis
        neurons = [group for group in analysis.groups if group.kind == "neurons" and group.is_prunable]
        reads = [read for group in neurons if (read := read_group(analysis, group))]
        parts = []
        for block in (join.block for join in context.joins if join.block):
            inside = [read for read in reads if read.site.node in block.nodes and _ends(read, block)]
            part = Part(block, inside[0] if len(inside) == 1 and inside[0].site.axis == -1 else None)
            is_kept = any(fnmatchcase(block.name, pattern) for pattern in self.exclude)
            if not is_kept and (self.attention or part.read is not None):
                parts.append(part)
        if not parts:
            raise NothingToPrune("pass allocate finds no block to weigh", "graphprune inspect lists the blocks")
        return sorted(parts, key=lambda part: analysis.flow.order[part.block.join])


def _ends(read: ReadGroup, block: Block) -> bool:
    """Whether the layer that reads the group is what the block adds to the stream."""
    return read.site.adder == block.join if read.site.adder else read.site.join == block.exit
