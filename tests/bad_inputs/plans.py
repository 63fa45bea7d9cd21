"""Plans that are no plans, or not for this model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bad_inputs.case import Case
from tests.bad_inputs.models import edited

APPLY = "apply model.onnx plan.json --data calib.npz --no-bench -o out.onnx"


def plan(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    """Change the valid plan of the folder."""

    def arrange(folder: Path) -> None:
        content = json.loads((folder / "plan.json").read_text())
        change(content)
        (folder / "plan.json").write_text(json.dumps(content))

    return arrange


def blocks(content: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = content["decisions"][0]["blocks"]
    return found


def bad(name: str, says: str, change: Callable[[dict[str, Any]], object]) -> Case:
    return Case(name, 1, says, plan(change), line=APPLY)


CASES = [
    Case("plan missing", 1, "cannot read the plan", lambda f: (f / "plan.json").unlink(), line=APPLY),
    Case("plan is a folder", 1, "cannot read the plan", line=APPLY.replace("plan.json", ".")),
    Case("plan is not JSON", 1, "not JSON", lambda f: (f / "plan.json").write_text("remove block 3"), line=APPLY),
    Case("plan is an array file", 1, "not JSON", line=APPLY.replace("plan.json", "calib.npz")),
    Case("plan is a list", 1, "schema", lambda f: (f / "plan.json").write_text("[]"), line=APPLY),
    bad("plan of another schema", "graphprune.plan/9", lambda p: p.update(schema="graphprune.plan/9")),
    bad("plan without decisions", "incomplete", lambda p: p.pop("decisions")),
    bad("plan with an unknown entry", "unknown entries.*colour", lambda p: p.update(colour="red")),
    bad("plan with a number for the hash", "plan", lambda p: p.update(model_sha256=5)),
    bad("plan with a list for a node", "plan", lambda p: blocks(p)[0].update(join=[1])),
    bad("plan of an unknown block", "no node 'add99'", lambda p: blocks(p)[0].update(join="add99", name="blocks.99")),
    bad("plan with another exit", "does not end at", lambda p: blocks(p)[0].update(exit="pooled")),
    bad("plan with a block twice", "twice", lambda p: blocks(p).append(blocks(p)[0])),
    Case("plan for another model", 1, "another model",
         edited(lambda model: setattr(model, "producer_name", "somebody else")),
         line=APPLY),
]  # fmt: skip
