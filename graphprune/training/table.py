"""A training run for a terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from graphprune.training.report import EpochReport, TrainingEnergy, TrainingReport


def print_training(console: Console, report: TrainingReport, verbose: bool) -> None:
    """Held-out figures before and after, a line about the run, and with ``verbose`` a row per epoch."""
    before, after = report.before, report.after
    table = Table(box=box.SIMPLE, pad_edge=False, show_edge=False)
    table.add_column(f"on {report.held_out_samples:,} held-out samples")
    for column in ("before", "after", "change"):
        table.add_column(column, justify="right")
    if before.score is not None and after.score is not None:
        name = "top-1" if report.kind == "top1" else "agreement"
        change = 100 * (after.score - before.score)
        table.add_row(name, f"{100 * before.score:.2f} %", f"{100 * after.score:.2f} %", f"{change:+.2f} pt")
    if before.perplexity is not None and after.perplexity is not None:
        figures = before.perplexity, after.perplexity
        table.add_row("perplexity", *(f"{figure:.2f}" for figure in figures), f"{figures[1] - figures[0]:+.2f}")
    losses = before.held_out_loss, after.held_out_loss
    table.add_row("loss", *(f"{loss:.4f}" for loss in losses), f"{losses[1] - losses[0]:+.4f}")
    console.print(table)
    console.print()
    if verbose:
        _print_epochs(console, report)
    kept = f"epoch {report.kept} of {len(report.epochs) - 1}" if report.kept else "the model as it came in"
    console.print(f"kept {kept}")
    resumed = f", resumed in epoch {report.resumed_at}" if report.resumed_at is not None else ""
    precision = "" if report.autocast == "none" else f", {report.autocast}"
    done = "healed" if report.goal == "healing" else "trained"
    console.print(
        f"{done} on {report.train_samples:,} samples in {report.seconds:.1f} s on {report.device}{precision}{resumed}"
    )
    if report.energy is not None:
        print_energy(console, report.energy)


def print_energy(console: Console, energy: TrainingEnergy) -> None:
    """Two lines: measured, and by the formula."""

    def told(joules: float, grams: float, cost: float | None) -> str:
        return f"{joules / 3600:.3g} Wh, {grams:.3g} g CO2" + ("" if cost is None else f", cost {cost:.3g}")

    measured = told(energy.joules, energy.co2_grams, energy.cost)
    formula = told(energy.formula_joules, energy.formula_co2_grams, energy.formula_cost)
    console.print(f"energy in {energy.country}: {measured} by codecarbon ({energy.source})")
    console.print(f"  {formula} by {energy.watts:g} W x {energy.seconds:.1f} s x {energy.grid_grams_per_kwh:.0f} g/kWh")


def _print_epochs(console: Console, report: TrainingReport) -> None:
    table = Table(box=box.SIMPLE, pad_edge=False, show_edge=False)
    for column in (
        "epoch",
        "lr",
        "loss",
        "held-out loss",
        "perplexity" if report.kind == "perplexity" else "score",
        "s",
    ):
        table.add_column(column, justify="right")
    for row in report.epochs:
        table.add_row(*_cells(row), style="bold" if row.epoch == report.kept else None)
    console.print(table)
    console.print()


def _cells(row: EpochReport) -> tuple[str, ...]:
    return (
        str(row.epoch),
        "" if row.lr is None else f"{row.lr:.2g}",
        "" if row.train_loss is None else f"{row.train_loss:.4f}",
        f"{row.held_out_loss:.4f}",
        f"{row.perplexity:.2f}" if row.perplexity is not None else _percent(row.score),
        f"{row.seconds:.1f}",
    )


def _percent(score: float | None) -> str:
    return "" if score is None else f"{100 * score:.2f} %"
