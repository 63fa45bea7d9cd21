"""How the choice of units stands against the cheapest one: importance lost for the number of units removed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphprune.plan.plan import Plan

_MOST_POINTS = 200


@dataclass(frozen=True)
class Frontier:
    """Shares of the units and of the importance: the least that any number of units costs, and what was chosen."""

    units: tuple[float, ...]
    least: tuple[float, ...]
    chosen: tuple[float, float]


def frontier_of(plan: Plan) -> Frontier | None:
    """Over all groups that lost units; None where there are no scores, or none of one scale.

    Importances below nothing count as nothing. Floors, widths in multiples and the costs of units, which differ between
    groups, keep the choice off the frontier.
    """
    decisions = [decision for decision in plan.decisions if any(units.scores for units in decision.units)]
    if len(decisions) != 1:
        return None
    scores = [np.maximum(np.nan_to_num(np.array(units.scores)), 0) for units in decisions[0].units]
    total = sum(float(each.sum()) for each in scores)
    if total <= 0:
        return None
    ordered = np.sort(np.concatenate(scores))
    lost = np.concatenate([[0.0], np.cumsum(ordered)]) / total
    shown = np.unique(np.linspace(0, len(ordered), min(_MOST_POINTS, len(ordered) + 1)).round().astype(int))
    gone = [each[list(units.removed)] for each, units in zip(scores, decisions[0].units, strict=True) if len(each)]
    chosen = sum(map(len, gone)) / len(ordered), sum(float(each.sum()) for each in gone) / total
    return Frontier(tuple((shown / len(ordered)).tolist()), tuple(lost[shown].tolist()), chosen)
