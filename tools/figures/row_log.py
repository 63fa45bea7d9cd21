"""Rows of figures that are made by processes of their own, so that their seconds are their own: a JSON line each."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def rows_of(log: Path) -> list[Row]:
    """All there are so far."""
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def made_apart(script: str, words: list[str], log: Path) -> Row:
    """What ``script --one`` prints in its last line, which is put into ``log`` and shown."""
    command = [sys.executable, script, "--one", *words]
    line = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]
    print(line, flush=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        file.write(line + "\n")
    row: Row = json.loads(line)
    return row
