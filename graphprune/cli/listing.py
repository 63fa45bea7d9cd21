"""What ``graphprune passes`` shows."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape

from graphprune import passes
from graphprune.base.documents import Document
from graphprune.pass_infra.base import OptionInfo, option_infos


@dataclass(frozen=True)
class PassEntry:
    """``summary`` is the first line of its docstring, ``paper`` where the method comes from."""

    name: str
    summary: str
    paper: str
    options: tuple[OptionInfo, ...]


class PassListing(Document, frozen=True, tag="graphprune.passes/1"):
    """Every pass there is."""

    passes: tuple[PassEntry, ...]


def pass_listing() -> PassListing:
    """Name, summary, paper and options of every pass."""
    kinds = [passes.find(name) for name in passes.names()]
    return PassListing(
        tuple(
            PassEntry(
                name=kind.name,
                summary=(kind.__doc__ or "").strip().splitlines()[0],
                paper=kind.paper,
                options=tuple(option_infos(kind)),
            )
            for kind in kinds
        )
    )


def print_passes(listing: PassListing, as_json: bool) -> None:
    """Print the listing as text, or as JSON with a versioned schema."""
    if as_json:
        sys.stdout.write(listing.to_json())
        return
    console = Console(highlight=False)
    for entry in listing.passes:
        console.print(f"[bold]{entry.name}[/]  {escape(entry.summary)}")
        console.print(f"  paper: {escape(entry.paper)}", style="dim")
        for option in entry.options:
            console.print(f"  {option.name} = {option.default or '(none)'}  ({escape(option.type)})")
            console.print(f"      {escape(option.help)}")
