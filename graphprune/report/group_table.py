"""The groups of a model on a terminal: what can shrink in a table, what cannot by reason,
operators without a rule last.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from graphprune.report.fitting import fitted, room_for_names
from graphprune.report.text import compact, shorten

if TYPE_CHECKING:
    from graphprune.report.inspection import GroupInspection, GroupRow, MissingRow

_COLUMNS = ("units", "unit's\nchannels", "MACs", "params", "unit's\nMACs", "unit's\nparams")
_FEW = 3
"""So many groups and nodes are named for one reason; --verbose names all."""


def print_groups(console: Console, inspection: GroupInspection, verbose: bool) -> None:
    """Headline, prunable groups in execution order, the others by reason, operators without a rule."""
    cost = inspection.cost
    console.print(
        f"{escape(inspection.source)}\n{cost.macs:,} MACs, {cost.params:,} parameters", soft_wrap=True, highlight=False
    )
    console.print(f"{_headline(inspection.rows)}\n")
    prunable = [row for row in inspection.rows if row.prunable]
    if prunable:
        _print_prunable(console, prunable, verbose)
    by_reason: dict[str, list[GroupRow]] = defaultdict(list)
    for row in inspection.rows:
        if not row.prunable:
            by_reason[row.reason].append(row)
    for reason, rows in by_reason.items():
        _print_reason(console, reason, rows, verbose)
    if inspection.missing:
        console.print()
        _print_missing(console, inspection.missing, verbose)
    if verbose:
        console.print()
        _print_layers(console, inspection.rows)


def _headline(rows: Sequence[GroupRow]) -> str:
    every, free = Counter(row.kind for row in rows), Counter(row.kind for row in rows if row.prunable)
    if not rows:
        return "no groups: no layer writes an axis of at least two units"
    kinds = ", ".join(f"{kind} {free[kind]}/{count}" for kind, count in every.most_common())
    return f"{free.total()} of {every.total()} groups can shrink: {kinds}"


def _print_prunable(console: Console, rows: Sequence[GroupRow], verbose: bool) -> None:
    cells = [
        (
            f"{row.size:,}",
            f"{row.unit_channels:,}",
            *map(_compact, (row.macs, row.params, row.unit_macs, row.unit_params)),
        )
        for row in rows
    ]
    columns: Sequence[str] = _COLUMNS
    if all(row.unit_channels <= 1 for row in rows):  # nothing that a reader would not take for granted
        columns, cells = (columns[0], *columns[2:]), [(row[0], *row[2:]) for row in cells]
    room = room_for_names(
        console.width, [(*name.split("\n"), *column) for name, *column in zip(columns, *cells, strict=True)]
    )
    table = Table(box=box.SIMPLE, pad_edge=False, show_edge=False)
    table.add_column("\ngroup", overflow="fold")
    for name in columns:
        table.add_column(name if "\n" in name else f"\n{name}", justify="right", no_wrap=True)
    names = [row.name for row in rows]
    for name, numbers in zip(names if verbose else fitted(names, room), cells, strict=True):
        table.add_row(escape(name), *numbers)
    console.print(table)
    console.print()


def _compact(number: int | None) -> str:
    return compact(number or 0)


def _print_reason(console: Console, reason: str, rows: Sequence[GroupRow], verbose: bool) -> None:
    units = sum(row.size for row in rows)
    console.print(f"[bold]cannot shrink:[/] {escape(reason)} ({_count(len(rows), 'group')}, {units:,} units)")
    _print_some(console, [(f"{row.name} ({row.size:,})", _place(row)) for row in rows], verbose)


def _place(row: GroupRow) -> str:
    return f"{row.node} in {row.module}" if row.module else row.node


def _print_missing(console: Console, missing: Sequence[MissingRow], verbose: bool) -> None:
    """Each operator and effect once, with the first node."""
    alike: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in missing:
        alike[row.op, row.effect].append(row.node)
    console.print("[bold yellow]not covered by axis rules, so that what they touch cannot shrink:[/]")
    for (op, effect), nodes in alike.items():
        console.print(f"{escape(op)}: {escape(effect)} ({_count(len(nodes), 'node')})")
        _print_some(console, [(node, "") for node in nodes], verbose, few=1)
    console.print(f"next: {escape(missing[0].fix)}\n")


def _print_some(console: Console, pairs: Sequence[tuple[str, str]], verbose: bool, few: int = _FEW) -> None:
    """Names, each with the place where its reason lies: all in full, or the first few in the width there is."""
    shown = pairs if verbose else pairs[:few]
    room = console.width - len("   at ")
    for name, place in shown:
        if not verbose:
            name = shorten(name, max(room // 2, room - cell_len(place)))
            place = shorten(place, room - cell_len(name))
        console.print(f"  {escape(name)}{' at ' if place else ''}[dim]{escape(place)}[/]", soft_wrap=True)
    if len(shown) < len(pairs):
        console.print(f"  and {len(pairs) - len(shown):,} more (-v names all)")


def _print_layers(console: Console, rows: Sequence[GroupRow]) -> None:
    """Who writes and who reads each group."""
    for row in rows:
        console.print(f"[bold]{escape(row.name)}[/]", soft_wrap=True)
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        table.add_row("  written by", escape(", ".join(row.writers)))
        table.add_row("  read by", escape(", ".join(row.readers) or "no layer"))
        console.print(table)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
