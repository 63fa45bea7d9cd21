"""Carry out a decision: find what it names in this model, and have it rewritten."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphprune.analysis.blocks import Block, Join
from graphprune.analysis.model_analysis import ModelAnalysis, analyse
from graphprune.analysis.refusals import Refusal
from graphprune.axes.algebra import Atom
from graphprune.errors import PlanError
from graphprune.plan.plan import Decision, RemovedBlock
from graphprune.rewrite import linearise, remove_blocks, remove_units
from graphprune.rewrite.linear_map import Fitter, LinearMap, linear_maps
from graphprune.rewrite.removal import Removal
from graphprune.runtime.sessions import Feeds, RuntimeOptions


def execute(
    analysis: ModelAnalysis,
    decision: Decision,
    steps: list[Removal],
    feeds: Feeds,
    runtime: RuntimeOptions,
    fitter: Fitter | None = None,
) -> ModelAnalysis:
    """Carry out one decision, note each step for the validation, and look at the result anew.

    ``fitter`` gives linear maps their numbers, and is asked with what went before in ``steps``.

    Raises
    ------
    PlanError
        The decision names what is not there, or linearises blocks and there is no ``fitter``.
    """
    gone = [block for block in decision.blocks if not block.is_linearised]
    linear = [block for block in decision.blocks if block.is_linearised]
    if gone:
        blocks = tuple(_found(analysis, planned)[1] for planned in gone)
        steps.append(Removal(analysis.model, blocks))
        analysis = analyse(remove_blocks(analysis.model, blocks), feeds, runtime)
    if linear:
        maps = _fitted_maps(analysis, linear, fitter)
        steps.append(Removal(analysis.model, maps=maps))
        analysis = analyse(linearise(analysis.model, maps), feeds, runtime)
    if decision.units:
        kept = _planned_units(analysis, decision)
        steps.append(Removal(analysis.model, typing=analysis.typing, kept=kept))
        small = remove_units(analysis.model, analysis.typing, kept)
        analysis = analyse(small, feeds, runtime)
    return analysis


def _found(analysis: ModelAnalysis, planned: RemovedBlock) -> tuple[Join, Block]:
    """A block that a decision names, as it lies in this model, and its join."""
    join = next((join for join in analysis.all_joins if join.node == planned.join), None)
    if join is None:
        raise PlanError(f"the plan removes {planned.name}, but there is no node '{planned.join}'", "check the plan")
    if join.block is None or join.block.exit != planned.exit:
        why = join.refusal.reason if join.refusal else f"it does not end at {planned.exit}"
        raise PlanError(f"the plan removes {planned.name}, which this model does not allow: {why}", "check the plan")
    return join, join.block


def _fitted_maps(
    analysis: ModelAnalysis, linear: Sequence[RemovedBlock], fitter: Fitter | None
) -> tuple[LinearMap, ...]:
    """The maps in place of the blocks that a decision linearises."""
    blank = []
    joins = [_found(analysis, each)[0] for each in linear]
    for planned, found in zip(linear, linear_maps(analysis, joins), strict=True):
        if isinstance(found, Refusal):
            raise PlanError(f"the plan linearises {planned.name}, and {found.reason}", "check the plan")
        blank.append(found)
    if fitter is None:
        raise PlanError(
            f"the plan linearises {linear[0].name}, and a linear map is fitted to samples, which are not read here",
            "carry it out with graphprune apply and --data",
        )
    return tuple(fitter(analysis, blank))


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
