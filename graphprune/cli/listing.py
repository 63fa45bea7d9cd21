"""What ``graphprune passes`` shows."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape

from graphprune import passes
from graphprune.pass_infra.base import option_infos

SCHEMA = "graphprune.passes/1"


def pass_listing() -> list[dict[str, Any]]:
    """Name, summary, paper and options of every pass."""
    kinds = [passes.find(name) for name in passes.names()]
    return [
        {
            "name": kind.name,
            "summary": (kind.__doc__ or "").strip().splitlines()[0],
            "paper": kind.paper,
            "options": [asdict(info) for info in option_infos(kind)],
        }
        for kind in kinds
    ]


def print_passes(listing: list[dict[str, Any]], as_json: bool) -> None:
    """Print the listing as text, or as JSON with a versioned schema."""
    if as_json:
        sys.stdout.write(json.dumps({"schema": SCHEMA, "passes": listing}, indent=2) + "\n")
        return
    console = Console(highlight=False)
    for entry in listing:
        console.print(f"[bold]{entry['name']}[/]  {escape(entry['summary'])}")
        console.print(f"  paper: {escape(entry['paper'])}", style="dim")
        for option in entry["options"]:
            console.print(f"  {option['name']} = {option['default'] or '(none)'}  ({escape(option['type'])})")
            console.print(f"      {escape(option['help'])}")
