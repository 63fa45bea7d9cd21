"""Carry out a decision: find what it names in this model, and have it rewritten."""

from __future__ import annotations

import numpy as np

from graphprune.anatomy import Anatomy, look_at
from graphprune.axes.algebra import Atom
from graphprune.errors import PlanError
from graphprune.oracle import Removal
from graphprune.plan import Decision
from graphprune.rewrite import remove_blocks, remove_units
from graphprune.runtime.sessions import Feeds, RuntimeOptions
from graphprune.structure.blocks import Block


def execute(
    anatomy: Anatomy, decision: Decision, steps: list[Removal], feeds: Feeds, runtime: RuntimeOptions
) -> Anatomy:
    """Carry out one decision, note each step for the validation, and look at the result anew."""
    if decision.blocks:
        blocks = _planned_blocks(anatomy, decision)
        steps.append(Removal(anatomy.model, tuple(blocks)))
        anatomy = look_at(remove_blocks(anatomy.model, blocks), feeds, runtime)
    if decision.units:
        kept = _planned_units(anatomy, decision)
        steps.append(Removal(anatomy.model, typing=anatomy.typing, kept=kept))
        small = remove_units(anatomy.model, anatomy.typing, kept)
        anatomy = look_at(small, feeds, runtime)
    return anatomy


def _planned_blocks(anatomy: Anatomy, decision: Decision) -> list[Block]:
    """The blocks a decision names, as they lie in this model."""
    known = {join.node: join for join in anatomy.joins}
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


def _planned_units(anatomy: Anatomy, decision: Decision) -> dict[Atom, np.ndarray]:
    """Which indices of which atoms stay, for the groups a decision names."""
    known = {group.name: group for group in anatomy.groups}
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
        kept[group.atom] = np.ones(group.size, dtype=bool)
        kept[group.atom][list(planned.removed)] = False
    return kept
