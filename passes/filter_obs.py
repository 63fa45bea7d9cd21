"""Pass ``filter-obs``: remove the units whose readers lose least without them, once these are refitted.

Optimal brain surgeon (Hassibi & Stork, NIPS 1992) for whole units, as in "Structurally Prune Anything" (OBSPA,
arXiv 2403.18955): choice and repair (``--repair ridge``) see the same Gram matrices. Layers lose unequal shares,
out of one budget.

In a language model (``walk``) choice and refit go together, MLP by MLP from input to output: each loses the same share
of its neurons, chosen on what the network pruned so far gives it, and makes up for what all before it have lost. Whole
attentions may go first (``attention``), as many as the rule of "2SSP" (arXiv 2501.17771) says, or KV groups of all
attentions in the same walk; what serves best can be tried on a few samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from graphprune.analysis.blocks import Block
from graphprune.analysis.groups import Group
from graphprune.analysis.language import is_language_model
from graphprune.analysis.model_analysis import ModelAnalysis
from graphprune.base.name_patterns import is_match
from graphprune.data.dataset import Data
from graphprune.errors import NothingToPrune, OptionError
from graphprune.pass_infra.attentions import Attentions
from graphprune.pass_infra.base import Choices
from graphprune.pass_infra.context import Context
from graphprune.pass_infra.unit_pass import UnitPass
from graphprune.pass_infra.walk_ways import Way, after, best_way
from graphprune.plan.plan import Decision, RemovedUnits
from graphprune.repair.obs import can_refit_readers, obs_losses
from graphprune.repair.stage import Method
from graphprune.repair.walk import read_group

Attention = Literal["auto", "keep", "whole", "groups"]

_JUDGES = 2  # samples that tell which attention is missed least
_TRIED = 8  # samples of a short walk


@dataclass(frozen=True)
class FilterOBS(UnitPass):
    """Filters, neurons and heads that the layers behind them make up for best, once refitted."""

    name: ClassVar[str] = "filter-obs"
    paper: ClassVar[str] = "Structurally Prune Anything (OBSPA), arXiv 2403.18955; Optimal Brain Surgeon, NIPS 1992"
    kinds: ClassVar[tuple[str, ...]] = ("filters", "neurons", "conv-groups", "heads", "kv-heads")

    unscored: ClassVar[str] = "no layer reads them that could be refitted"

    per: Literal["unit", "cost"] = field(
        default="cost", metadata={"help": "compare losses as they are, or for each MAC (parameter) saved"}
    )
    walk: bool | None = field(
        default=None,
        metadata={
            "help": "choose and refit MLP by MLP on what the pruned network gives, the same share of each; "
            "auto: in a language model"
        },
    )
    attention: Attention = field(
        default="keep",
        metadata={
            "help": "what of attentions a walk may take beside neurons: nothing, some as a whole, KV groups of all; "
            "auto: what short walks on a few samples find best"
        },
    )

    def requires(self, context: Context) -> None:
        super().requires(context)
        if self.walk and self.widths:
            raise OptionError("pass filter-obs walks from MLP to MLP and cuts no residual widths", "leave out one")

    def decide(self, context: Context) -> Decision:
        if not self.walks(context.analysis, context.data):
            return super().decide(context)
        groups = self.eligible(context)
        considered = sum(group.size for group in groups)
        if context.goal.is_met(context.analysis.cost, 0, considered):
            return Decision(str(self), considered=considered)
        way, notes = best_way(self._ways(context, groups), context, _TRIED)
        return replace(way.walked(), spec=str(self), notes=notes, score_title="KL" if way.blocks else "1-CKA")

    def choices(self, context: Context, stack: ExitStack) -> Choices:
        if self.walks(context.analysis, context.data):
            return super().choices(context, stack)
        return self.from_one_scoring(context)

    def _ways(self, context: Context, groups: list[Group]) -> list[Way]:
        """Those to try: neurons alone first.

        Raises
        ------
        OptionError, NothingToPrune
            What was asked for cannot be.
        """
        neurons = [group for group in groups if group.kind == "neurons"]
        is_asked = self.attention != "auto"
        if not neurons or self.attention == "keep" or not (is_asked or self._is_judged(context)):
            return [Way("what is on offer alone", context, groups, self._even(context, groups))]
        alone = Way("neurons alone", context, neurons, self._even(context, neurons))
        makers = {"whole": self._without_attentions, "groups": self._with_groups}
        if is_asked:
            if why := self._unweighed(context, self.attention):
                raise OptionError(f"{self} cannot take attentions: {why}", "write attention=keep")
            return [makers[self.attention](context, alone)]
        ways = [alone]
        for kind, make in makers.items():
            if not self._unweighed(context, kind):
                try:
                    ways.append(make(context, alone))
                except NothingToPrune:
                    continue
        return [way for way in ways if not way.counted.limit] or ways

    def _is_judged(self, context: Context) -> bool:
        """Whether outputs can tell which way is best."""
        has_two = len(list(islice(context.data.batches(1), 2))) > 1
        return has_two and is_language_model(context.model, context.sizes)

    def _unweighed(self, context: Context, kind: str) -> str:
        """Why attentions cannot be weighed against neurons; empty where they can."""
        if context.goal.target.kind not in ("params", "flops"):
            return f"{context.goal.target} does not say what one is worth in neurons"
        if self.ratio is not None:
            return "ratio caps units, not attentions"
        if kind == "whole" and self.shape == "uniform":
            return "a layer without one is not like the others (shape=uniform)"
        return ""

    def _even(self, context: Context, groups: Sequence[Group]) -> Decision:
        """The same share of each group: how many units go, whichever."""
        return replace(self, scope="group").choose(context, groups, [np.zeros(group.size) for group in groups], ())

    def _without_attentions(self, context: Context, alone: Way) -> Way:
        found = Attentions.of(context, self._may_go)
        count = 0 if found is None else found.count(_params(alone.counted))
        if found is None or not count:
            why = "none can be removed" if found is None else "2SSP's rule has none go at this target"
            raise NothingToPrune(f"pass {self.name} takes no attention as a whole: {why}", "write attention=keep")
        blocks = tuple(found.least_missed(count, _JUDGES))
        inner = after(context, Decision("", blocks=blocks))
        groups = [group for group in self.eligible(inner) if group.kind == "neurons"]
        names = "attention" if count == 1 else "attentions"
        return Way(f"without {len(blocks)} {names}", inner, groups, self._even(inner, groups), blocks)

    def _with_groups(self, context: Context, alone: Way) -> Way:
        asking = replace(self, attention="groups")
        groups = [group for group in asking.eligible(context) if group.kind == "kv-heads"]
        if not groups:
            raise NothingToPrune(
                f"pass {self.name} finds no KV groups that can go", "graphprune inspect --groups shows why they stay"
            )
        whole = Attentions.of(context, lambda _: True)
        share = whole.count(_params(alone.counted)) / len(whole.blocks) if whole else 0.0
        counts = [min(max(1, round(share * group.size)), group.size - self.least(group)) for group in groups]
        units = tuple(
            RemovedUnits(group.name, group.kind, group.size, tuple(range(count)), 0, 0)
            for group, count in zip(groups, counts, strict=True)
            if count
        )
        inner = after(context, Decision("", units=units))
        neurons = self._even(inner, [group for group in self.eligible(inner) if group.kind == "neurons"])
        both = replace(neurons, units=(*units, *neurons.units))
        return Way("with fewer KV groups", context, [*groups, *alone.groups], both)

    def _may_go(self, block: Block) -> bool:
        """Whether ``include`` and ``exclude`` leave a block on offer."""
        names = (block.name, *block.layers)
        is_kept = any(is_match(pattern, names) for pattern in self.exclude)
        return not is_kept and (not self.include or any(is_match(pattern, names) for pattern in self.include))

    def own_repair(self, analysis: ModelAnalysis, data: Data) -> tuple[Method, ...] | None:
        return ("walk",) if self.walks(analysis, data) else None

    def walks(self, analysis: ModelAnalysis, data: Data) -> bool:
        """Whether units are chosen and readers refitted in one walk."""
        if self.walk is not None:
            return self.walk
        return data.kind != "synthetic" and not self.widths and is_language_model(analysis.model, analysis.sizes)

    def scorable(self, context: Context, groups: Sequence[Group]) -> list[Group]:
        if self.walks(context.analysis, context.data):
            kinds = self._walked_kinds(groups)
            return [each for each in groups if each.kind in kinds and read_group(context.analysis, each)]
        return [group for group in groups if can_refit_readers(context.analysis, group)]

    def why_unscored(self, context: Context, group: Group) -> str:
        if not self.walks(context.analysis, context.data):
            return super().why_unscored(context, group)
        if group.kind == "kv-heads" and self.attention in ("keep", "whole"):
            return f"attention={self.attention} takes no KV groups"
        if group.kind not in ("neurons", "kv-heads"):
            return "a walk takes neurons and KV groups only (walk=false takes the others)"
        if read_group(context.analysis, group):
            return "a walk takes KV groups beside neurons where that is better, and alone where no neurons are on offer"
        return "a walk refits what reads the units, and that is not one layer alone whose weights are its own"

    def _walked_kinds(self, groups: Sequence[Group]) -> tuple[str, ...]:
        has_neurons = any(group.kind == "neurons" for group in groups)
        takes = self.attention == "groups" or (self.attention == "auto" and not has_neurons)
        return ("neurons", "kv-heads") if takes else ("neurons",)

    def score(self, context: Context, groups: Sequence[Group]) -> tuple[list[NDArray[np.float64]], tuple[str, ...]]:
        losses = obs_losses(
            context.analysis,
            groups,
            context.data,
            context.execution.batch,
            context.execution.runtime,
            lambda done: context.execution.progress(f"{self.name}: weighing groups", done, len(groups)),
        )
        if self.per == "unit":
            return losses, ()
        cost = context.analysis.typed_cost()
        scores = []
        for group, values in zip(groups, losses, strict=True):
            saving = cost.unit_saving(group.atom)
            saved = saving.params if context.goal.target.kind == "params" else saving.macs
            scores.append(values / max(1, saved))
        return scores, ()


def _params(counted: Decision) -> int:
    return sum(units.params for units in counted.units)
