"""Plans that are no plans, or not for this model."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from graphprune.pipeline.prune import prune
from tests.bad_inputs.case import Case
from tests.bad_inputs.models import edited, residual, samples

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


@cache
def units_text() -> str:
    """A plan that takes two channels out of the residual stream."""
    passes = ["filter-magnitude{widths=true}"]
    return prune(residual(), passes, {"x": samples()}, "removed=2", dry_run=True).plan.to_json()


def bad_units(name: str, says: str, **entries: Any) -> Case:
    """The same plan with other entries for its one group."""

    def arrange(folder: Path) -> None:
        content = json.loads(units_text())
        content["decisions"][0]["units"][0].update(entries)
        (folder / "plan.json").write_text(json.dumps(content))

    return Case(name, 1, says, arrange, line=APPLY)


def twice(folder: Path) -> None:
    content = json.loads(units_text())
    content["decisions"][0]["units"] *= 2
    (folder / "plan.json").write_text(json.dumps(content))


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
    bad("plan with a number for a limit", "remark is not a text", lambda p: p["decisions"][0].update(limit=5)),
    bad("plan with a number for a note", "remark is not a text", lambda p: p["decisions"][0].update(notes=[5])),
    bad("plan with a number for a title", "remark is not a text", lambda p: p["decisions"][0].update(score_title=5)),
    bad(
        "plan with a word for a figure",
        "no numbers by name",
        lambda p: blocks(p)[0]["scores"][0].update(details={"cka": "low"}),
    ),
    bad(
        "plan with a list for figures", "no numbers by name", lambda p: blocks(p)[0]["scores"][0].update(details=[0.5])
    ),
    bad_units(
        "plan of an unknown group", "units of head/filters .8 units., but there is no such group", group="head/filters"
    ),
    bad_units(
        "plan of a group that stays",
        "this model does not allow: .*(model output|interface)",
        group="gemm/neurons",
        size=3,
        removed=[0],
    ),
    bad_units("plan with another size", "but it has 8 units here", size=12),
    bad_units("plan with an index too large", r"removes units \[3, 8\] .* has 8", removed=[3, 8]),
    bad_units("plan with a negative index", r"removes units \[-1\] .* has 8", removed=[-1]),
    bad_units("plan with an index twice", r"removes units \[2, 2\] .*(?s:.)*each index once", removed=[2, 2]),
    bad_units("plan with half an index", r"removes units \[1.5\]", removed=[1.5]),
    bad_units("plan with a truth for an index", r"removes units \[True\]", removed=[True]),
    bad_units("plan with a word for indices", "removes units", removed="all"),
    bad_units("plan with a number for indices", "incomplete", removed=3),
    bad_units("plan that empties a group", "removes every unit of .*(?s:.)*leave at least one", removed=list(range(8))),
    bad_units("plan with a list for a group", "wrong type", group=["stem"]),
    bad_units("plan with a list for a kind", "wrong type", kind=["width"]),
    bad_units("plan with a word for a size", "wrong type", size="8"),
    bad_units("plan with a word for a cost", "wrong type", macs="many"),
    bad_units("plan with an unknown entry for a group", "unknown entries.*colour", colour="red"),
    Case("plan with a group twice in a decision", 1, "lists .* twice in one decision", twice, line=APPLY),
    Case(
        "plan for another model",
        1,
        "another model",
        edited(lambda model: setattr(model, "producer_name", "somebody else")),
        line=APPLY,
    ),
]
