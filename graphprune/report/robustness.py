"""Several models' robustness on a terminal: three models a table, each with its difference from the first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import floor, hypot, log10
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from graphprune.evaluation.moves import SIZES
from graphprune.report.quality import output_figures

if TYPE_CHECKING:
    from graphprune.evaluation.energy import InferenceEnergy
    from graphprune.evaluation.paired import Difference
    from graphprune.evaluation.robustness_report import ConditionRow, RobustnessReport

_OTHERS = 2  # models beside the first that fit 80 columns


def print_robustness(console: Console, report: RobustnessReport, verbose: bool) -> None:
    """Headline, legend, table, energy. ``verbose`` adds a row for every corruption;
    the JSON file has every severity.
    """
    if report.reference == "outputs":
        print_outputs(console, report)
        return
    for which in range(1, len(report.models)):
        console.print(f"[bold]{_headline(report, which)}[/]")
    for which, model in enumerate(report.models):
        console.print(f"{_letter(which)} = {escape(model)}", soft_wrap=True)
    console.print(f"{report.samples:,} {_samples(report)}\n", soft_wrap=True)
    rows = [row for row in report.rows if _is_shown(row, verbose)]
    others = list(range(1, len(report.models)))
    for start in range(0, max(1, len(others)), _OTHERS):
        console.print(_table(report, rows, others[start : start + _OTHERS]))
        console.print()
    if others:
        over = "chunks" if report.reference == "text" else "samples"
        console.print(f"± 95 % over {over}; * the interval of the paired difference leaves 0 out")
    if report.energy:
        _print_energy(console, report)


def print_outputs(console: Console, report: RobustnessReport) -> None:
    """Every output of every model beside the first, and the metric of the user's own."""
    for which, model in enumerate(report.models):
        console.print(f"{_letter(which)} = {escape(model)}", soft_wrap=True)
    console.print(
        f"{report.samples:,} samples of {escape(report.source)}, outputs against those of A\n", soft_wrap=True
    )
    table = Table(box=box.SIMPLE, pad_edge=False, show_edge=False)
    table.add_column("", overflow="fold")
    for column in ("error", "cosine", report.metric):
        table.add_column(column, justify="right", no_wrap=True)
    for which, found in enumerate(report.outputs):
        metric = "" if found.metric is None else f"{found.metric:.4g}"
        table.add_row(_letter(which), "", "", metric)
        for output in found.outputs:
            table.add_row(f"  {escape(output.name)}", *output_figures(output), "")
    console.print(table)


def _samples(report: RobustnessReport) -> str:
    """What there are so many of."""
    if report.reference == "text":
        return f"samples of {escape(report.source)}, {report.settings['next_tokens']:,} next tokens"
    against = "labels" if report.reference == "labels" else "own clean decisions"
    return f"samples of {escape(report.source)}, right by {against}"


def _letter(which: int) -> str:
    return chr(ord("A") + which) if which < 26 else f"M{which + 1}"


def _is_shown(row: ConditionRow, verbose: bool) -> bool:
    return row.kind != "corruption" or (verbose and not row.level)


def _headline(report: RobustnessReport, which: int) -> str:
    """What the intervals say; corrupted images count once per family."""
    rows = [row for row in report.rows if row.kind == "attack" or (row.kind == "mean" and row.name != "corruptions")]
    own, first = _letter(which), _letter(0)
    if not rows:
        gap = report.rows[0].differences[which - 1]
        is_better = (gap.value > 0) == report.rows[0].is_share
        words = "no difference to" if not gap.is_different else "better than" if is_better else "worse than"
        return f"{own}: {words} {first} in {report.rows[0].name}"
    gaps = [row.differences[which - 1] for row in rows]
    more = sum(gap.is_different and gap.value > 0 for gap in gaps)
    less = sum(gap.is_different and gap.value < 0 for gap in gaps)
    return (
        f"{own} against {first}, {len(gaps)} attacks and corruption families: "
        f"more robust in {more}, less in {less}, no difference in {len(gaps) - more - less}"
    )


def _table(report: RobustnessReport, rows: Sequence[ConditionRow], others: Sequence[int]) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False, show_edge=False)
    table.add_column("", overflow="fold")
    table.add_column(_letter(0), justify="right", no_wrap=True)
    for which in others:
        table.add_column(_letter(which), justify="right", no_wrap=True)
        table.add_column(f"{_letter(which)} - {_letter(0)}", justify="left", no_wrap=True)
    before = ""
    for row in rows:
        kind = "corruption" if row.kind == "mean" else row.kind
        if before and kind != before:
            table.add_section()
        before = kind
        number, change = _formats(row)
        cells = [number(row.values[0].value)]
        for which in others:
            cells += [number(row.values[which].value), change(row.differences[which - 1])]
        table.add_row(escape(_name(report, row)), *cells)
    return table


def _formats(row: ConditionRow) -> tuple[Callable[[float], str], Callable[[Difference], str]]:
    """How a figure of this row and a difference of two are written: percent, or three digits."""
    scale, digits = (100, 2) if row.is_share else (1, 3)

    def change(gap: Difference) -> str:
        reach = scale * (gap.high - gap.low) / 2
        return f"{scale * gap.value:+.{digits}f} ±{reach:.{digits}f}{' *' if gap.is_different else ''}"

    return lambda value: f"{scale * value:.{digits}f}", change


def _name(report: RobustnessReport, row: ConditionRow) -> str:
    if row.kind == "attack" and row.name in SIZES:
        return f"{row.name} {row.level} px, %"
    if row.kind == "attack":
        return f"{row.name} {_epsilon(float(row.level))}, %"
    if row.kind == "mean":
        count = sum(other.kind == "corruption" and not other.level for other in report.rows)
        return f"mean of {count}, %" if row.name == "corruptions" else f"{row.name}, %"
    if row.kind == "corruption":
        return f"  {row.name}, %"
    return f"{row.name}, %" if row.is_share else f"{row.name} ↓"


def _epsilon(value: float) -> str:
    """Epsilons are multiples of 1/255 nearly always."""
    steps = value * 255
    return f"{round(steps)}/255" if abs(steps - round(steps)) < 1e-3 and steps >= 1 else f"{value:.4g}"


def _print_energy(console: Console, report: RobustnessReport) -> None:
    first = report.energy[0]
    where = f"{escape(first.source)}, mix of {escape(first.country)}"
    console.print(f"\nenergy of 1,000 samples by {where}; ± standard error of {first.rounds} rounds", soft_wrap=True)
    table = Table(box=box.SIMPLE, pad_edge=False, show_edge=False)
    table.add_column("")
    for column in ("J", "mg CO2", "seconds", "J, change"):
        table.add_column(column, justify="right", no_wrap=True)
    for which, energy in enumerate(report.energy):
        seconds, scale = energy.milliseconds, 1e-3
        table.add_row(
            _letter(which),
            _measured(energy.joules.value, energy.joules.standard_error),
            _measured(1e3 * energy.co2_grams.value, 1e3 * energy.co2_grams.standard_error),
            _measured(scale * seconds.value, scale * seconds.standard_error),
            _change(first, energy) if which else "",
        )
    console.print(table)


def _measured(value: float, error: float) -> str:
    """Three digits, and the error to the same place."""
    digits = max(0, 2 - floor(log10(value))) if value > 0 else 0
    return f"{value:.{digits}f} ±{error:.{digits}f}"


def _change(first: InferenceEnergy, second: InferenceEnergy) -> str:
    """Joules relative to the first model, with the standard error of the ratio."""
    if not first.joules.value:
        return ""
    ratio = second.joules.value / first.joules.value
    parts = [e.joules.standard_error / e.joules.value if e.joules.value else 0.0 for e in (first, second)]
    return f"{100 * (ratio - 1):+.1f} ±{100 * ratio * hypot(*parts):.1f} %"
