"""The pages as text, and what a reader types of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """What stands between the fences of a language."""
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def console_commands(text: str) -> list[str]:
    """Every line of the console blocks, comments taken off; what stands in ``sh`` blocks needs more than a checkout."""
    return [line.split("  #")[0].strip() for block in blocks(text, "console") for line in block.splitlines() if line]


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """As typed in ``folder``, on a terminal of 80 columns."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "80"}
    return subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False)
