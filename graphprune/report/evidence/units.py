"""What became of every unit, and why: removed or kept with its score, or the rule that it cannot go by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from graphprune.analysis.blocks import Join
from graphprune.analysis.cost import part_cost
from graphprune.analysis.groups import Group
from graphprune.analysis.model_analysis import ModelAnalysis
from graphprune.plan.plan import Plan, Score
from graphprune.report.evidence.parts import ModelPart
from graphprune.report.html.pictures import BlockRow, GroupOutcome, PartState


def block_rows(analysis: ModelAnalysis, parts: Sequence[ModelPart], plan: Plan) -> tuple[BlockRow, ...]:
    """One row per join, in execution order, those in bodies last; one that cannot go is named after the part of the
    network that it ends.
    """
    names = {node: part.name for part in parts if part.refusal for node in part.nodes}
    removed = {block.join: block for block in plan.blocks}
    scores: dict[str, Score] = {}
    for block in plan.blocks:
        scores |= {score.unit: score for score in block.scores}
    rows = []
    for join in analysis.all_joins:
        macs = part_cost(analysis.model, join.block.nodes, analysis.sizes).macs if join.block else 0
        if join.node in removed:
            gone = removed[join.node]
            place = 1 + list(removed).index(join.node)
            why = f"{'linearised' if gone.is_linearised else 'removed'} as number {place}"
            rows.append(BlockRow(join.name, "removed", gone.score, gone.standard_error, macs, why))
            continue
        name = names.get(join.node, join.name)
        rows.append(_kept(name, join, scores.get(join.name), macs, bool(removed)))
    return tuple(rows)


def _kept(name: str, join: Join, score: Score | None, macs: int, some_went: bool) -> BlockRow:
    if join.refusal is not None:
        return BlockRow(name, "stays", None, None, macs, f"{join.refusal.rule}: {join.refusal.reason}")
    if score is not None:
        return BlockRow(name, "kept", score.score, score.standard_error, macs, "others mattered less")
    reason = "not among the candidates: a rule of the pass keeps it" if some_went else "no pass removed blocks"
    return BlockRow(name, "kept", None, None, macs, reason)


def group_rows(analysis: ModelAnalysis, plan: Plan) -> tuple[GroupOutcome, ...]:
    """One row per dependency group, if any lost units;
    groups that only came to be behind a removal stand at the end.
    """
    if not plan.units:
        return ()
    gone, macs = Counter[str](), Counter[str]()
    for units in plan.units:
        gone[units.group] += len(units.removed)
        macs[units.group] += units.macs
    rows = [_group_row(group, gone[group.name], macs[group.name]) for group in analysis.groups]
    known = {row.name for row in rows}
    later = {units.group: units for units in plan.units if units.group not in known}
    rows += [
        GroupOutcome(name, units.kind, units.size, 0, gone[name], macs[name], "cut", "")
        for name, units in later.items()
    ]
    return tuple(rows)


def _group_row(group: Group, gone: int, macs: int) -> GroupOutcome:
    state: PartState = "cut" if gone else "kept"
    reason = "" if gone else "not among the groups of the passes, or all its units matter more"
    if group.freeze is not None:
        state, reason = (
            "stays",
            f"{group.freeze.reason} ({group.freeze.node})" if group.freeze.node else group.freeze.reason,
        )
    return GroupOutcome(group.name, group.kind, group.size, group.unit_channels, gone, macs, state, reason)
