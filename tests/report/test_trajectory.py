"""The trajectory in the plan's JSON, and its table."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from graphprune.analysis.cost import Cost
from graphprune.errors import PlanError
from graphprune.plan.plan import Decision, Plan, RemovedBlock, RemovedUnits, TrajectoryPoint
from graphprune.report.result import Result
from graphprune.report.terminal import print_result

LAYER = TrajectoryPoint("layer", ("layer1.1",), 900_000, 90, 0.99, "cka", "filters", 0.98, 0.9)
FILTERS = TrajectoryPoint(
    "filters", ("layer1.0.conv1/filters: 2 of 8", "layer1.2.conv1/filters: 1 of 8"), 800_000, 80, 0.97
)
BLOCK = RemovedBlock("layer1.1", "add", "a", "b", 100_000, 10, 0.01, 0.0)


def _plan() -> Plan:
    cuts = [("layer1.0.conv1/filters", (1, 3)), ("layer1.2.conv1/filters", (0,))]
    units = tuple(RemovedUnits(group, "filters", 8, removed, 10, 1) for group, removed in cuts)
    again = RemovedUnits("layer1.0.conv1/filters", "filters", 6, (5,), 10, 1)
    decisions = (
        Decision("joint-cka", (BLOCK,), trajectory=(LAYER,)),
        Decision("joint-cka", units=units, trajectory=(FILTERS,)),
        Decision("joint-cka", units=(again,), trajectory=(replace(FILTERS, removed=(f"{again.group}: 1 of 6",)),)),
    )
    return Plan("0" * 64, decisions, "flops=0.8", 0.8, 0)


def _shown(plan: Plan) -> str:
    console = Console(width=80, record=True, force_terminal=False)
    with console.capture() as capture:
        print_result(console, Result("m.onnx", None, plan, Cost(1_000_000, 100), Cost(800_000, 80), 3))
    return capture.get()


def test_json_keeps_the_trajectory(tmp_path: Path) -> None:
    plan = _plan()
    plan.save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json") == plan
    assert [step.kind for step in plan.trajectory] == ["layer", "filters", "filters"]


def test_plan_without_a_trajectory_loads() -> None:
    content = json.loads(_plan().to_json())
    for decision in content["decisions"]:
        del decision["trajectory"]
    assert Plan.from_dict(content).trajectory == ()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", 3),
        ("removed", "layer1"),
        ("removed", [1]),
        ("macs", 1.5),
        ("params", True),
        ("score", []),
        ("score", "0.9"),
        ("score", float("nan")),
        ("rival_kind", 1),
        ("rival_score", [0.9]),
        ("latency_ratio", float("inf")),
        ("color", "red"),
    ],
)
def test_step_of_the_wrong_type_is_refused(field: str, value: Any) -> None:
    content = json.loads(_plan().to_json())
    content["decisions"][0]["trajectory"][0][field] = value
    with pytest.raises(PlanError, match="incomplete or has unknown entries"):
        Plan.from_dict(content)


def test_table_tells_each_step_in_80_columns() -> None:
    text = _shown(_plan())
    rows = text.splitlines()
    assert max(map(len, rows)) <= 80
    assert [row.split() for row in rows if row.lstrip()[:2] in ("1 ", "2 ")] == [
        ["1", "layer1.1", "900k", "90.0", "%", "0.99000", "0.98000", "0.90x"],
        ["2", "3", "filters", "of", "2", "groups", "800k", "80.0", "%", "0.97000"],
    ]


def test_groups_cut_twice_count_once() -> None:
    row = next(row for row in _shown(_plan()).splitlines() if row.startswith("filters in cut groups"))
    assert row.split()[-3:] == ["16", "12", "-4"]


def test_only_steps_of_other_passes_are_listed_apart() -> None:
    assert "s.e." not in _shown(_plan())
    plain = replace(_plan().decisions[0], trajectory=())
    assert "s.e." in _shown(replace(_plan(), decisions=(plain, *_plan().decisions[1:])))


def test_where_a_coin_decides_no_figure_is_shown() -> None:
    step = TrajectoryPoint("layer", ("h.3.attention", "h.3.mlp"), 900_000, 90, None, "random")
    other = replace(step, removed=("add_1", "add_2"))
    decisions = (Decision("mop", (BLOCK,), trajectory=(step,)), Decision("mop", (BLOCK,), trajectory=(other,)))
    plan = Plan("0" * 64, decisions, "flops=0.8", 0.9, 0)
    assert Plan.from_dict(json.loads(replace(plan, decisions=decisions[:1]).to_json())).trajectory == (step,)
    printed = _shown(plan)
    assert "the one that a coin fell for went on" in printed
    assert "None" not in printed
    assert "h.3.* " in printed
    assert "add_1, add_2" in printed
