"""Tables for a terminal, readable at 80 columns and pasteable as plain text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from graphprune.base.graded import Grade, by_gravity
from graphprune.report import budget, quantised
from graphprune.report.bench_table import headline
from graphprune.report.fitting import fitted, room_for_names
from graphprune.report.generation_table import generation_rows, headlines
from graphprune.report.quality import quality_rows
from graphprune.report.text import change as _change
from graphprune.report.text import compact
from graphprune.report.text import size as _size
from graphprune.report.trajectory import print_trajectory
from graphprune.training.table import print_training

if TYPE_CHECKING:
    from graphprune.repair.outcome import RepairReport
    from graphprune.report.inspection import Inspection
    from graphprune.report.result import Result

_UNIT_COLUMNS = ("units", "kept", "MACs", "params")


_NOTE_STYLES: dict[Grade, str] = {
    "alarm": "[bold red]alarm:[/]",
    "caution": "[bold yellow]caution:[/]",
    "fact": "[bold cyan]note:[/]",
}


def print_notes(console: Console, notes: Iterable[str], otherwise: Grade = "caution") -> None:
    """What the user must not overlook, the gravest first; sentences without a grade have that of ``otherwise``."""
    for note in by_gravity(notes, otherwise):
        console.print(f"{_NOTE_STYLES[note.grade]} {escape(note)}")


def print_result(console: Console, result: Result, *, verbose: bool = False) -> None:
    """Headline, before/after table, removed blocks, check; with ``verbose`` every repaired layer."""
    if result.measurement:
        console.print(f"[bold]{headline(result.measurement)}[/]")
    for point in result.generation.points if result.generation else ():
        for line in headlines(point):
            console.print(f"[bold]{escape(line)}[/]")
    table = Table(box=box.SIMPLE, pad_edge=False, show_edge=False)
    table.add_column("")
    for column in ("before", "after", "change"):
        table.add_column(column, justify="right")
    before, after = result.before, result.after
    table.add_row("MACs", f"{before.macs:,}", f"{after.macs:,}", _change(before.macs, after.macs))
    table.add_row("parameters", f"{before.params:,}", f"{after.params:,}", _change(before.params, after.params))
    if result.validation:
        table.add_row("file", _size(before.bytes), _size(after.bytes), _change(before.bytes, after.bytes))
    if result.plan.blocks or not result.plan.units:
        left = result.blocks_before - len(result.plan.blocks)
        table.add_row("removable blocks", str(result.blocks_before), str(left), f"-{len(result.plan.blocks)}")
    for kind, (size, gone) in _unit_counts(result).items():
        table.add_row(f"{kind} in cut groups", f"{size:,}", f"{size - gone:,}", f"-{gone:,}")
    if result.measurement:
        times = result.measurement.comparison
        table.add_row(
            f"median ms, batch {result.measurement.batch}",
            f"{times.first.median_ms:.3f}",
            f"{times.second.median_ms:.3f}",
            _change(times.first.median_ms, times.second.median_ms),
        )
        spread = [f"{t.p10_ms:.3f}-{t.p90_ms:.3f}" for t in (times.first, times.second)]
        table.add_row("  p10-p90 ms", *spread, "")
    if result.generation:
        for row in generation_rows(result.generation):
            table.add_row(*row)
    if result.evaluation:
        for row in quality_rows(result.evaluation, result.unrepaired, result.recovery or "repair", all_outputs=verbose):
            table.add_row(*row)
    console.print(table)
    console.print()
    if result.plan.trajectory:
        print_trajectory(console, result)
    plain = tuple(decision for decision in result.plan.decisions if not decision.trajectory)
    shown = replace(result, plan=replace(result.plan, decisions=plain))
    if plain and (shown.plan.blocks or not shown.plan.units):
        _print_blocks(console, shown)
    if shown.plan.units:
        _print_units(console, shown)
    console.print()
    asked, reached = result.plan.asked, f"{result.plan.reached:.4g}"
    limits = [decision.limit for decision in result.plan.decisions if decision.limit]
    if not asked.startswith("max-drop="):
        console.print(f"asked {asked}, reached {reached}{'; ' + '; '.join(limits) if limits else ''}")
    for sentence in budget.sentences(result):
        console.print(escape(sentence))
    if result.validation:
        check = result.validation
        console.print(
            f"checked on {check.samples} samples: equals the masked original "
            f"to {check.max_relative_error:.1e} (limit {check.tolerance:.0e})"
        )
        noise = f"{check.self_difference:.0e}" if check.self_difference else "0"
        console.print(f"  the network itself varies by {noise} (optimiser, batch size, rounding)")
    if result.repair:
        _print_repair(console, result.repair, verbose)
    for training in result.training:
        print_training(console, training, verbose)
    if result.quantised:
        _print_quantised(console, result, result.quantised)
    if result.output:
        console.print(f"wrote {escape(str(result.output))}", soft_wrap=True)
        if result.quantised and result.quantised.output:
            console.print(f"wrote {escape(result.quantised.output)}", soft_wrap=True)
    elif not result.validation:
        console.print("dry run: nothing was rewritten, checked or written")


def _print_quantised(console: Console, result: Result, found: quantised.Quantised) -> None:
    """The original, the pruned network and that in int8."""
    table = Table(box=box.SIMPLE, pad_edge=False, show_edge=False)
    table.add_column("")
    for column in ("file", "time", "quality"):
        table.add_column(column, justify="right")
    for row in quantised.rows(result):
        table.add_row(*row)
    console.print()
    console.print(table)
    console.print()
    console.print(quantised.sentence(found))


def _print_repair(console: Console, repair: RepairReport, verbose: bool) -> None:
    """How many layers got better on samples not used for the fit; with ``verbose`` each of them."""
    for method in repair.methods:
        layers = [layer for layer in repair.layers if layer.method == method]
        kept = sum(layer.is_kept for layer in layers)
        tried = [layer for layer in layers if layer.before or layer.after]
        errors = [median(each or [0.0]) for each in ([one.before for one in tried], [one.after for one in tried])]
        if not layers:
            console.print(f"nothing to repair by {method}")
            continue
        console.print(
            f"repaired {kept} of {len(layers)} layers by {method}: "
            f"held-out error {errors[0]:.3g} -> {errors[1]:.3g} (median)"
            if tried
            else f"repaired none of {len(layers)} layers by {method}"
        )
        left = Counter(layer.note for layer in layers if layer not in tried and layer.note)
        for why, count in left.items():
            console.print(f"  {count} left as {'it was' if count == 1 else 'they were'}: {why}")
    if verbose and repair.layers:
        table = Table(box=box.SIMPLE, pad_edge=False, show_edge=False)
        table.add_column("layer", overflow="fold")
        for column in ("repair", "error before", "after"):
            table.add_column(column, justify="right", no_wrap=True)
        table.add_column("", overflow="fold")
        for layer in repair.layers:
            table.add_row(
                escape(layer.layer),
                layer.method,
                f"{layer.before:.4f}",
                f"{layer.after:.4f}",
                escape(layer.note) if layer.is_kept else f"left as it was; {escape(layer.note)}".rstrip("; "),
            )
        console.print(table)


def _print_blocks(console: Console, result: Result) -> None:
    """A table for each kind of score, and one of its own for what has a linear map in its place."""
    found = [(decision.score_title, block) for decision in result.plan.decisions for block in decision.blocks]
    kinds = [(title, block.is_linearised) for title, block in found]
    for title, is_linearised in dict.fromkeys(kinds):
        table = Table(box=box.SIMPLE, pad_edge=False, show_edge=False)
        table.add_column("linearised" if is_linearised else "removed", overflow="fold")
        columns = (title, "s.e.", "MACs")
        for column in columns:
            table.add_column(column, justify="right", no_wrap=True)
        blocks = [block for own, block in found if (own, block.is_linearised) == (title, is_linearised)]
        numbers = [(_score(block.score), f"{block.standard_error:.5f}", f"{block.macs:,}") for block in blocks]
        room = room_for_names(console.width, zip(columns, *numbers, strict=True))
        for name, row in zip(fitted([block.name for block in blocks], room), numbers, strict=True):
            table.add_row(escape(name), *row)
        console.print(table)


def _score(score: float) -> str:
    return f"{score:.{0 if float(score).is_integer() else 5}f}"


def _unit_counts(result: Result) -> dict[str, tuple[int, int]]:
    """Kind of unit -> how many the cut groups had at first, how many go."""
    counts: dict[str, tuple[int, int]] = {}
    seen: set[str] = set()
    for units in result.plan.units:
        size, gone = counts.get(units.kind, (0, 0))
        counts[units.kind] = size + (0 if units.group in seen else units.size), gone + len(units.removed)
        seen.add(units.group)
    return counts


def _print_units(console: Console, result: Result) -> None:
    table = Table(box=box.SIMPLE, pad_edge=False, show_edge=False)
    table.add_column("group", overflow="fold")
    for column in _UNIT_COLUMNS:
        table.add_column(column, justify="right", no_wrap=True)
    numbers = [
        (str(units.size), str(units.size - len(units.removed)), _signed(-units.macs), _signed(-units.params))
        for units in result.plan.units
    ]
    room = room_for_names(console.width, zip(_UNIT_COLUMNS, *numbers, strict=True))
    for name, row in zip(fitted([units.group for units in result.plan.units], room), numbers, strict=True):
        table.add_row(escape(name), *row)
    console.print(table)


def _signed(change: int) -> str:
    return f"{'+' if change > 0 else ''}{compact(change)}"


def print_inspection(console: Console, inspection: Inspection, verbose: bool) -> None:
    """One row per join."""
    removable = sum(row.rule == "" for row in inspection.rows)
    cost = inspection.cost
    console.print(
        f"{escape(inspection.source)}\n{cost.macs:,} MACs, {cost.params:,} parameters, "
        f"{len(inspection.rows)} joins, {removable} removable\n"
    )
    table = Table(box=box.SIMPLE, pad_edge=False, show_edge=False)
    table.add_column("stage", justify="right")
    table.add_column("block or join", overflow="fold", ratio=1)
    for column in ("MACs", "share", "params"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("removable", no_wrap=True)
    for row in inspection.rows:
        stage = str(row.stage) if row.stage >= 0 else ""
        if row.rule:
            table.add_row(stage, escape(row.name), "", "", "", "no")
            continue
        ends = row.nodes if verbose or len(row.nodes) < 3 else (row.nodes[0], "..", row.nodes[-1])
        share = f"{100 * row.macs / max(1, cost.macs):.2f} %"
        name = f"[bold]{escape(row.name)}[/]\n[dim]{escape(' '.join(ends))}[/]"
        table.add_row(stage, name, f"{row.macs:,}", share, f"{row.params:,}", "yes")
    console.print(table)
    for row in inspection.rows:
        if row.rule:
            console.print(f"no  {escape(row.name)}: {row.rule}\n    [dim]{escape(row.reason)}[/]")
