"""Ways to a target for a walk: neurons alone, or neurons with whole attentions, or with KV groups of all of them.

Each way is walked on a few samples, and how far the outputs then are from the original's, on others, tells which serves
best: all are compared after the refit, at the same cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from graphprune.analysis.groups import Group
from graphprune.pass_infra.context import Context
from graphprune.pass_infra.joint.split import split
from graphprune.pass_infra.walk import walked
from graphprune.plan.plan import Decision, RemovedBlock
from graphprune.repair.refits import Refits
from graphprune.rewrite.apply import execute
from graphprune.scoring.next_tokens import logit_divergences


@dataclass(frozen=True)
class Way:
    """``counted`` says how many units of each of ``groups`` go from the network in ``context``, which has lost
    ``blocks``.
    """

    name: str
    context: Context
    groups: Sequence[Group]
    counted: Decision
    blocks: tuple[RemovedBlock, ...] = ()

    def walked(self) -> Decision:
        """With the units chosen and their readers refitted; the refits are left in the context."""
        return replace(walked(self.context, self.groups, self.counted), blocks=self.blocks)


def after(context: Context, decision: Decision) -> Context:
    """As it is when ``decision`` has been carried out."""
    steps = list(context.history.removals)
    analysis = execute(context.analysis, decision, steps, context.data.first(1), context.execution.runtime)
    return replace(context, analysis=analysis, history=replace(context.history, removals=tuple(steps)))


def best_way(ways: Sequence[Way], origin: Context, samples: int) -> tuple[Way, tuple[str, ...]]:
    """That whose outputs are nearest to those of the network as given, and a note of what the others gave.

    ``samples`` are walked, and as many judge.
    """
    if len(ways) == 1:
        return ways[0], ()
    few, judges = split(origin.data, 2 * samples)
    found: dict[str, float] = {}
    for way in ways:
        refits = Refits()
        trial = replace(way, context=replace(way.context, data=few, refits=refits))
        trial.walked()
        model = refits.last.model if refits.last else way.context.model  # blocks alone may be enough
        found[way.name] = logit_divergences(origin.history.origin, [model], judges, origin.execution)[0]
    best = min(ways, key=lambda way: found[way.name])
    told = ", ".join(f"{name} {value:.4g}" for name, value in found.items())
    return best, (f"KL after a short walk: {told}",)
