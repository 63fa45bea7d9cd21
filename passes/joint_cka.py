"""Pass ``joint-cka``: at each step either a layer or as many filters,
whatever changes the network's representation less.

"Pruning Everything, Everywhere, All at Once" (IJCNN 2025). The present network (the parent) gets two children:
one without the block that ``layer-cka`` finds least important, one without as many filters. Both get the same repair,
and the one whose representation has the higher CKA with the parent's goes on; of equals the layer goes. Unlike the
authors' code, which judges on test images, children are chosen and repaired with one half of the samples and judged on
the other.

In a transformer a sub-layer competes with heads and neurons of the same number of parameters,
as in "Mixture of Pruners" (arXiv 2602.06127), which are chosen as in AMP (IJCNN 2025).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from graphprune.errors import NothingToPrune, OptionError
from graphprune.pass_infra.base import Pass
from graphprune.pass_infra.block_pass import BlockPass
from graphprune.pass_infra.context import Context
from graphprune.pass_infra.joint.arbiter import Arbiter, Similarity
from graphprune.pass_infra.joint.children import Match
from graphprune.pass_infra.joint.judge import Judge, Select
from graphprune.pass_infra.joint.search import Search
from graphprune.pass_infra.unit_pass import UnitPass, check_patterns
from graphprune.passes.amp import AMP
from graphprune.passes.filter_cka import FilterCKA
from graphprune.passes.filter_kl import FilterKL
from graphprune.passes.filter_magnitude import FilterMagnitude
from graphprune.passes.filter_obs import FilterOBS
from graphprune.passes.head_projection import HeadProjection
from graphprune.passes.layer_cka import LayerCKA
from graphprune.passes.layer_kl import LayerKL
from graphprune.passes.layer_magnitude import LayerMagnitude
from graphprune.passes.neuron_projection import NeuronProjection
from graphprune.plan.plan import Decision
from graphprune.plan.selection import Scope
from graphprune.scoring.projection import HEAD_KINDS

_CRITERIA: dict[str, tuple[type[BlockPass], type[UnitPass]]] = {
    "obs": (LayerCKA, FilterOBS),
    "magnitude": (LayerMagnitude, FilterMagnitude),
    "kl": (LayerKL, FilterKL),
    "cka": (LayerCKA, FilterCKA),
}
_LEAST_SAMPLES = 8
_FILTERS = (r"re:/filters(\.\d+)?$",)


@dataclass(frozen=True)
class JointCKA(Pass):
    """Blocks and filters: at each step a block, or as many filters, whichever CKA misses less."""

    name: ClassVar[str] = "joint-cka"
    paper: ClassVar[str] = "Pruning Everything, Everywhere, All at Once, IJCNN 2025"

    match: Match = field(
        default="filters",
        metadata={"help": "what both children lose alike: filters (transformers: parameters), MACs, or measured time"},
    )
    arbiter: Arbiter = field(default="cka", metadata={"help": "likeness to the parent, or cross-entropy on labels"})
    similarity: Similarity = field(
        default="cka", metadata={"help": "what likeness is: CKA, or a distance; gaussian needs labels"}
    )
    epsilon: float = field(
        default=0.0, metadata={"help": "held against the child without filters, which saves less time"}
    )
    select: Select = field(default="arbiter", metadata={"help": "the arbiter decides, or a coin (--seed): a baseline"})
    criterion: Literal["obs", "magnitude", "kl", "cka"] = field(
        default="obs",
        metadata={"help": "how layers and filters are scored; obs: layers by CKA. Heads and neurons: by projection"},
    )
    scope: Scope = field(
        default="group", metadata={"help": "filters: the same share of each layer, or the lowest of all"}
    )
    refit: bool = field(default=True, metadata={"help": "repair both children before they are judged"})
    samples: int = field(default=256, metadata={"help": "samples that the search looks at: half to fit, half to judge"})
    floor: int | None = field(default=None, metadata={"help": "blocks a stage keeps; auto: 2 in a CNN, else 0"})
    skip_first: bool | None = field(default=None, metadata={"help": "keep the first block of a stage; auto: in a CNN"})
    exclude: tuple[str, ...] = field(default=(), metadata={"help": "blocks to keep, by name or glob"})
    exclude_groups: tuple[str, ...] = field(
        default=(), metadata={"help": "groups to keep: glob or re:, on group or node names"}
    )
    representation: tuple[str, ...] = field(
        default=(), metadata={"help": "tensors to compare; default: what the last layer reads"}
    )

    def decide(self, context: Context) -> Decision:
        return next(self.decisions(context))

    def requires(self, context: Context) -> None:
        if context.goal.target.kind not in ("flops", "params"):
            raise OptionError(
                f"pass joint-cka weighs blocks against units and cannot count both for {context.goal.target}",
                "give --target flops= or params=",
            )
        if self.epsilon < 0:
            raise OptionError(f"epsilon of pass joint-cka is {self.epsilon:g}", "write 0 or more")
        if self.samples < _LEAST_SAMPLES:
            raise OptionError(
                f"pass joint-cka cannot choose and judge with {self.samples} samples",
                f"write samples={_LEAST_SAMPLES} or more",
            )

    def decisions(self, context: Context) -> Iterator[Decision]:
        units, kind = self._units(context)
        layers = _CRITERIA[self.criterion][0](
            floor=self.floor,
            skip_first=self.skip_first,
            exclude=self.exclude,
            representation=() if self.criterion == "kl" else self.representation,
            rescore="none",  # the children are repaired here
        )
        repairs = self.refit and context.data.kind != "synthetic"
        judge = Judge(self.arbiter, self.similarity, self.epsilon, self.select)
        search = Search(str(self), layers, self.representation, units, kind, self.match, judge, repairs, self.samples)
        yield from search.run(context)

    def _units(self, context: Context) -> tuple[UnitPass | None, str]:
        """What competes with layers: heads and neurons where there are heads, else filters, else neurons.

        Raises
        ------
        NothingToPrune
            There is neither a block nor anything else to remove.
        """
        groups = context.analysis.groups
        free = {group.kind for group in groups if group.is_prunable}
        check_patterns(self.exclude_groups, groups)
        kept = self.exclude_groups
        has_heads = not free.isdisjoint(HEAD_KINDS[:2])
        if has_heads and "neurons" in free:
            return AMP(floor=0.0, exclude=kept), "units"
        if has_heads:
            return HeadProjection(scope="group", floor=0.0, exclude=kept), "heads"
        if "filters" in free:
            kind = _CRITERIA[self.criterion][1]
            return kind(scope=self.scope, floor=0.0, include=_FILTERS, exclude=kept), "filters"
        if "neurons" in free:
            return NeuronProjection(scope="group", floor=0.0, exclude=kept), "neurons"
        if not any(join.block for join in context.joins):
            raise NothingToPrune(
                "pass joint-cka finds neither a residual block nor filters, heads or neurons to remove",
                "graphprune inspect --groups shows every group and its reason",
            )
        return None, ""
