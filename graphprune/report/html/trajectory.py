"""How the network came to be what it is, read from the plan."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from graphprune.plan.plan import Decision, TrajectoryPoint
from graphprune.report.html.charts import Point, Trajectory
from graphprune.report.result import Result

_LEAST_POINTS = 2


def trajectory_of(result: Result) -> Trajectory | None:
    """The steps of a pass that noted them, else the removals of blocks in order; None with fewer than two of them."""
    decisions = result.plan.decisions
    steps = [step for decision in decisions for step in decision.trajectory]
    if any(step.score is None for step in steps):
        return None  # a coin decided
    if steps:
        found = _of_steps(result, steps)
    elif any(decision.units for decision in decisions):
        return None  # filters that went before or between would be left out
    else:
        found = _of_blocks(result, decisions)
    figures = [point.figure for point in (*found.points, *found.rivals)]
    return found if len(found.points) >= _LEAST_POINTS and all(map(isfinite, figures)) else None


def _of_steps(result: Result, steps: Sequence[TrajectoryPoint]) -> Trajectory:
    """The winner of every step, and the child that lost, which is drawn below or above it."""
    is_timed = all(step.latency_ratio is not None for step in steps)
    left = [(step.latency_ratio or 0.0) if is_timed else step.macs / max(1, result.before.macs) for step in steps]
    points = [Point(x, step.score, step.kind) for x, step in zip(left, steps, strict=True) if step.score is not None]
    rivals = [
        Point(x, step.rival_score, step.rival_kind or "")
        for x, step in zip(left, steps, strict=True)
        if step.rival_score is not None
    ]
    better = "higher" if steps[0].arbiter == "cka" else "lower"
    name = "CKA to the network before" if steps[0].arbiter == "cka" else steps[0].arbiter
    what = "time left, %" if is_timed else "MACs left, %"
    return Trajectory(tuple(points), tuple(rivals), f"{name} ({better} is safer)", what)


def _of_blocks(result: Result, decisions: Sequence[Decision]) -> Trajectory:
    """Every removal with the candidates that were not taken."""
    left = result.before.macs
    points, rivals = [], []
    for block in result.plan.blocks:
        left -= block.macs
        x = left / max(1, result.before.macs)
        points.append(Point(x, block.score, block.name))
        rivals += [Point(x, score.score, score.unit) for score in block.scores if score.unit != block.name]
    return Trajectory(
        tuple(points), tuple(rivals), f"{score_title(decisions)} of what went (lower is safer)", "MACs left, %"
    )


def score_title(decisions: Sequence[Decision]) -> str:
    """What the scores of the blocks are."""
    return next((each.score_title for each in decisions if each.blocks and each.score_title), "score")
