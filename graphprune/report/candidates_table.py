"""Several results in one table for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from graphprune.report.candidates import CandidatesFile


_COLUMNS = ("asked", "MACs", "file", "median", "lost")


def print_candidates(console: Console, found: CandidatesFile) -> None:
    """A row for each, the front marked, what kept one from being written, and what makes one again."""
    table = Table(box=box.SIMPLE, pad_edge=False, show_edge=False)
    table.add_column("")
    table.add_column("asked", no_wrap=True)
    rows = [(each.asked, "", "", "", "") if each.why else each.figures() for each in found.candidates]
    columns = [place for place in range(1, 5) if any(row[place] for row in rows)]  # what was not measured has none
    for place in columns:
        table.add_column(_COLUMNS[place], justify="right", no_wrap=True)
    table.add_column("")
    for number, (each, row) in enumerate(zip(found.candidates, rows, strict=True), 1):
        end = "not written" if each.why else "[bold]front[/]" if each.is_front else ""
        table.add_row(str(number), *(escape(row[place]) for place in (0, *columns)), end)
    console.print(table)
    for number, each in enumerate(found.candidates, 1):
        if each.why:
            console.print(f"{number}: {escape(each.why)}")
    for each in found.candidates:
        if each.output is not None:
            console.print(f"wrote {escape(each.output)} and {escape(str(each.plan))}", soft_wrap=True)
    made = next((each for each in found.candidates if each.plan), None)
    if made is not None:
        console.print(f"again: {escape(found.command(made))}", soft_wrap=True)
