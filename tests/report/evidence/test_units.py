"""What became of every block, those in bodies too."""

from __future__ import annotations

from graphprune.plan.plan import Decision, Plan, RemovedBlock, Score
from graphprune.report.evidence.parts import model_parts
from graphprune.report.evidence.units import block_rows
from tests.body_graphs import LOOP, looked_at


def test_blocks_in_bodies_have_their_rows() -> None:
    analysis = looked_at(LOOP)
    scores = (Score("join0", 0.5, 0.0), Score("join1", 0.2, 0.0), Score("join2", 0.4, 0.0))
    gone = RemovedBlock("join1", "join1", "e0", "e1", 128, 64, 0.2, 0.0, scores)
    plan = Plan(analysis.model.sha256, (Decision("layer-cka", blocks=(gone,)),), "removed=1", 1.0, 0)
    rows = block_rows(analysis, model_parts(analysis), plan)
    assert [(row.name, row.state, row.macs) for row in rows] == [
        ("join0", "kept", 128),
        ("join1", "removed", 128),
        ("join2", "kept", 128),
    ]
