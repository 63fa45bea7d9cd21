"""How the network came to be what it is, read from the plan."""

from __future__ import annotations

from math import isfinite

from graphprune.report.html.charts import Point, Trajectory
from graphprune.report.result import Result


def trajectory_of(result: Result) -> Trajectory | None:
    """The removals of blocks in order, with the candidates that were not taken; None with fewer than two of them."""
    whole = result.before.macs
    left = whole
    points, rivals = [], []
    if not whole or any(decision.units for decision in result.plan.decisions):
        return None  # filters that went before or between would be left out
    for block in result.plan.blocks:
        costs = {block.name: block.macs}
        left -= costs[block.name]
        if not isfinite(block.score):
            return None
        points.append(Point(left / whole, block.score, block.name))
        rivals += [
            Point(left / whole, score.score, score.unit)
            for score in block.scores
            if score.unit != block.name and isfinite(score.score)
        ]
    if len(points) < 2:
        return None
    return Trajectory(tuple(points), tuple(rivals), "score of what went (lower is safer)")
