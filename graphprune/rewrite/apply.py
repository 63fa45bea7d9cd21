"""Carry out a decision: find what it names in this model, and have it rewritten."""

from __future__ import annotations

import numpy as np

from graphprune.analysis.blocks import Block
from graphprune.analysis.model_analysis import ModelAnalysis, analyse
from graphprune.axes.algebra import Atom
from graphprune.errors import PlanError
from graphprune.plan.plan import Decision
from graphprune.rewrite import remove_blocks, remove_units
from graphprune.rewrite.removal import Removal
from graphprune.runtime.sessions import Feeds, RuntimeOptions


def execute(
    analysis: ModelAnalysis, decision: Decision, steps: list[Removal], feeds: Feeds, runtime: RuntimeOptions
) -> ModelAnalysis:
    """Carry out one decision, note each step for the validation, and look at the result anew."""
    if decision.blocks:
        blocks = _planned_blocks(analysis, decision)
        steps.append(Removal(analysis.model, tuple(blocks)))
        analysis = analyse(remove_blocks(analysis.model, blocks), feeds, runtime)
    if decision.units:
        kept = _planned_units(analysis, decision)
        steps.append(Removal(analysis.model, typing=analysis.typing, kept=kept))
        small = remove_units(analysis.model, analysis.typing, kept)
        analysis = analyse(small, feeds, runtime)
    return analysis


def _planned_blocks(analysis: ModelAnalysis, decision: Decision) -> list[Block]:
    """The blocks a decision names, as they lie in this model."""
    known = {join.node: join for join in analysis.all_joins}
    blocks = []
    for planned in decision.blocks:
        join = known.get(planned.join)
        if join is None:
            raise PlanError(f"the plan removes {planned.name}, but there is no node '{planned.join}'", "check the plan")
        if join.block is None or join.block.exit != planned.exit:
            why = join.refusal.reason if join.refusal else f"it does not end at {planned.exit}"
            raise PlanError(
                f"the plan removes {planned.name}, which this model does not allow: {why}", "check the plan"
            )
        blocks.append(join.block)
    return blocks


def _planned_units(analysis: ModelAnalysis, decision: Decision) -> dict[Atom, np.ndarray]:
    """Which indices of which atoms stay, for the groups a decision names."""
    known = {group.name: group for group in analysis.groups}
    kept: dict[Atom, np.ndarray] = {}
    for planned in decision.units:
        group = known.get(planned.group)
        if group is None or group.size != planned.size:
            what = "there is no such group" if group is None else f"it has {group.size} units here"
            raise PlanError(
                f"the plan removes units of {planned.group} ({planned.size} units), but {what}",
                "see graphprune inspect --groups for the groups of this model",
            )
        if group.freeze is not None:
            raise PlanError(
                f"the plan removes units of {planned.group}, which this model does not allow: {group.freeze.reason} "
                f"(node {group.freeze.node})",
                "check the plan",
            )
        if (left := group.size - len(set(planned.removed))) < group.least:
            raise PlanError(
                f"the plan leaves {left} of {group.size} {group.kind} of {group.name}, which chooses {group.least} of "
                "them at a time",
                f"leave {group.least} at least",
            )
        kept[group.atom] = np.ones(group.size, dtype=bool)
        kept[group.atom][list(planned.removed)] = False
    return kept
