"""The published JSON Schemas, asked by a validator that is not ours."""

from __future__ import annotations

import json
from typing import Any

from jsonschema import Draft202012Validator

from tests.conftest import ROOT

FOLDER = ROOT / "docs" / "schemas"


def assert_published(content: dict[str, Any]) -> None:
    """``content`` is what the schema that it names says; ``graphprune.plan/1`` is in ``plan.json``."""
    name = content["schema"].removeprefix("graphprune.").partition("/")[0]
    schema = json.loads((FOLDER / f"{name}.json").read_text())
    errors = [f"{error.json_path}: {error.message}" for error in Draft202012Validator(schema).iter_errors(content)]
    assert not errors
