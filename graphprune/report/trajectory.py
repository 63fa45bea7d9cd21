"""The steps of a pass that weighs layers against filters, as a table of 80 columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from graphprune.report.text import compact, shorten

if TYPE_CHECKING:
    from graphprune.plan.plan import Decision, TrajectoryPoint
    from graphprune.report.result import Result

_NAME_WIDTH = 30
_CHOSEN = {
    "cka": "the one with the higher CKA to the network before the step",
    "linear": "the one whose representation is nearer to that of the network before",
    "gaussian": "the one whose representation is nearer to that of the network before",
    "wasserstein": "the one whose representation is nearer to that of the network before",
    "kl": "the one whose outputs are nearer to those of the network as given",
    "perplexity": "that of lower perplexity",
    "random": "the one that a coin fell for",
    "path": "the one that the path names",
}


def print_trajectory(console: Console, result: Result) -> None:
    """One row per step: what went, what the whole model is left with, and the figures that decided."""
    steps = [(decision, step) for decision in result.plan.decisions for step in decision.trajectory]
    table = Table(box=box.SIMPLE, pad_edge=False, show_edge=False)
    table.add_column("step", justify="right")
    table.add_column("removed", overflow="fold")
    arbiter = steps[0][1].arbiter
    for column in ("MACs", "left", "CKA" if arbiter == "cka" else arbiter, "rival", "time"):
        table.add_column(column, justify="right", no_wrap=True)
    for number, (decision, step) in enumerate(steps, 1):
        table.add_row(
            str(number),
            escape(shorten(_what(decision, step), _NAME_WIDTH)),
            compact(step.macs),
            f"{100 * step.macs / max(1, result.before.macs):.1f} %",
            "" if step.score is None else f"{step.score:.5f}",
            "" if step.rival_score is None else f"{step.rival_score:.5f}",
            "" if step.latency_ratio is None else f"{step.latency_ratio:.2f}x",
        )
    console.print(table)
    console.print(f"of the two children of each step, {_CHOSEN.get(arbiter, 'that of lower loss')} went on")


def _what(decision: Decision, step: TrajectoryPoint) -> str:
    if len(step.removed) == 1:
        return step.removed[0]
    if decision.blocks:
        return _layer(step.removed)
    groups = f"{len(step.removed)} groups"
    if len(decision.trajectory) > 1:
        return f"{step.kind} of {groups}"
    return f"{sum(len(units.removed) for units in decision.units)} {step.kind} of {groups}"


def _layer(blocks: Sequence[str]) -> str:
    """The blocks of one layer by what their names have in common."""
    parents = {name.rpartition(".")[0] for name in blocks}
    parent = parents.pop() if len(parents) == 1 else ""
    return f"{parent}.*" if parent else ", ".join(blocks)
