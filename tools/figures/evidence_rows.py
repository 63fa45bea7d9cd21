"""The rows of ``evidence.py``, one file of JSON lines for each experiment."""

from __future__ import annotations

import json
from pathlib import Path

from evidence_size import Row


def rows_of(work: Path, name: str) -> list[Row]:
    """All there are so far; none of tasks that did not finish."""
    path = work / f"{name}.jsonl"
    found = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [row for row in found if "unfinished" not in row]
