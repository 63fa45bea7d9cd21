"""The JSON Schemas in the docs are those of the code. That real files keep to them is tested where these are
written.
"""

from __future__ import annotations

import json
import runpy
from dataclasses import replace
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import graphprune
from graphprune.plan.plan import Plan
from tests.conftest import ROOT
from tests.graphs import residual_mlp
from tests.schemas import FOLDER, assert_published


def test_committed_files_are_up_to_date() -> None:
    tool = runpy.run_path(str(ROOT / "tools" / "schemas.py"))
    for name, kind in tool["KINDS"].items():
        text = (FOLDER / f"{name}.json").read_text()
        Draft202012Validator.check_schema(json.loads(text))
        assert text == tool["text"](kind), f"run tools/schemas.py: {name}.json is of yesterday"
    assert {path.stem for path in FOLDER.iterdir()} == tool["KINDS"].keys()


@pytest.fixture(scope="module")
def plan() -> Plan:
    return graphprune.prune(residual_mlp(4), ["layer-cka"], target="removed=1", dry_run=True).plan


def test_plan_keeps_whole_figures_whole(plan: Plan) -> None:
    """So that a plan that was read is written as it was."""
    text = replace(plan, reached=1).to_json()
    assert '"reached": 1,' in text
    assert Plan.from_dict(json.loads(text)).to_json() == text


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.update(schema="graphprune.plan/2"),
        lambda content: content.pop("schema"),
        lambda content: content["decisions"][0].pop("blocks"),
        lambda content: content["decisions"][0]["blocks"][0].pop("scores"),
        lambda content: content.update(colour="red"),
        lambda content: content["decisions"][0]["blocks"][0].update(colour="red"),
        lambda content: content["decisions"][0]["blocks"][0].update(macs=1.5),
        lambda content: content["decisions"][0].update(limit=5),
    ],
)
def test_what_the_reader_refuses_the_schema_refuses(plan: Plan, change: Any) -> None:
    content = json.loads(plan.to_json())
    assert_published(content)
    change(content)
    with pytest.raises(graphprune.GraphpruneError):
        Plan.from_dict(content)
    schema = json.loads((FOLDER / "plan.json").read_text())
    assert not Draft202012Validator(schema).is_valid(content)
