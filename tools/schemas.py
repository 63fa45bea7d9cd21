"""JSON Schemas of everything that graphprune writes as JSON, into ``docs/schemas``.
Run it when one of the types changed.

A file describes one version of a schema; its name is that of the schema without the version. Only plans are read back,
and with entries that they do not know they are refused; whoever reads the others should pass over what is new.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import msgspec

from graphprune.cli.listing import PassListing
from graphprune.doctor.checks import Diagnosis
from graphprune.evaluation.robustness_report import RobustnessReport
from graphprune.pipeline.check_data import DataCheck
from graphprune.plan.plan import Plan
from graphprune.plan.plan_file import REQUIRED
from graphprune.report.candidates import CandidatesFile
from graphprune.report.growth import Growth
from graphprune.report.inspection import GroupsFile, Inspection
from graphprune.report.result_file import BenchFile, GenerationFile, ResultFile
from graphprune.training.report import TrainingFile

FOLDER = Path(__file__).parent.parent / "docs" / "schemas"
KINDS: dict[str, type] = {
    "bench": BenchFile,
    "candidates": CandidatesFile,
    "data-check": DataCheck,
    "doctor": Diagnosis,
    "generation": GenerationFile,
    "groups": GroupsFile,
    "growth": Growth,
    "inspection": Inspection,
    "passes": PassListing,
    "plan": Plan,
    "result": ResultFile,
    "robustness": RobustnessReport,
    "training": TrainingFile,
}


def schema(kind: type) -> dict[str, Any]:
    """The JSON Schema of a document."""
    content = msgspec.json.schema(kind)
    for part in content["$defs"].values():
        if "description" in part:
            part["description"] = inspect.cleandoc(part["description"])  # before Python 3.13 it comes indented
        for field in part.get("properties", {}).values():
            if field.get("default") == {}:
                del field["default"]  # which msgspec names since 0.23
    if kind is Plan:
        for part in content["$defs"].values():
            part["additionalProperties"] = False
            part["required"] += REQUIRED.get(part["title"], ())
        content["$defs"]["Plan"]["required"].append("schema")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **content}


def text(kind: type) -> str:
    """The schema's file."""
    return json.dumps(schema(kind), indent=2) + "\n"


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, kind in KINDS.items():
        (FOLDER / f"{name}.json").write_text(text(kind))


if __name__ == "__main__":
    main()
