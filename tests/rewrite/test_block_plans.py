"""Plans that remove blocks: what the scores were made of comes back from the file, and older files still load."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

import graphprune
from graphprune.errors import PlanError
from graphprune.plan.plan import Decision, Plan, RemovedBlock, Score
from graphprune.report.terminal import print_result
from tests.graphs import residual_mlp

SCORE = Score("h1", 3.0, 0.5, {"cka": 0.25, "wasserstein": 0.125})
BLOCK = RemovedBlock("h1", "join0", "h0", "h1", 10, 20, 3.0, 0.5, (SCORE,))
PLAN = Plan("0" * 64, (Decision("layer-consensus", (BLOCK,), score_title="rank sum"),), "removed=1", 1, 0)


def test_details_and_titles_come_back(tmp_path: Path) -> None:
    PLAN.save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json") == PLAN


def test_a_plan_without_them_still_loads() -> None:
    content = json.loads(PLAN.to_json())
    del content["decisions"][0]["score_title"]
    del content["decisions"][0]["blocks"][0]["scores"][0]["details"]
    (decision,) = Plan.from_dict(content).decisions
    assert decision.score_title == "1-CKA"
    assert decision.blocks[0].scores == (replace(SCORE, details={}),)


@pytest.mark.parametrize("details", [[0.5], {"cka": "low"}, {"cka": None}, {"cka": True}])
def test_details_are_numbers_by_name(details: object) -> None:
    content = json.loads(PLAN.to_json())
    content["decisions"][0]["blocks"][0]["scores"][0]["details"] = details
    with pytest.raises(PlanError, match="no numbers by name"):
        Plan.from_dict(content)


def test_table_heads_scores_with_what_they_are() -> None:
    """One table for each kind of score; whole numbers are printed as such."""
    result = graphprune.prune(residual_mlp(4), ["layer-cka"], target="removed=1", dry_run=True)
    plan = replace(result.plan, decisions=(*result.plan.decisions, *PLAN.decisions))
    text = StringIO()
    print_result(Console(file=text, width=80), replace(result, plan=plan))
    lines = [line.split() for line in text.getvalue().splitlines()]
    assert ["removed", "1-CKA", "s.e.", "MACs"] in lines
    assert ["removed", "rank", "sum", "s.e.", "MACs"] in lines
    assert ["h1", "3", "0.50000", "10"] in lines
