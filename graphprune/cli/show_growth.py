"""Table and JSON of ``graphprune grow``."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.markup import escape
from rich.table import Table

from graphprune.cli.show import Shown
from graphprune.report.growth import GrownNetwork, Growth
from graphprune.report.text import compact
from graphprune.training.table import print_energy


class ShownGrowth(Shown):
    """:class:`Shown` for a :class:`Growth`."""

    def growth(self, found: Growth, report: Path | None) -> None:
        """JSON file, a row for each network, what was checked, and the name of the report that was written."""
        self._write_json(found.to_json)
        table = Table(box=box.SIMPLE, pad_edge=False, show_edge=False)
        for name in ("network", "blocks"):
            table.add_column(name)
        for name in ("MACs", "parameters", "mean VIP of the stages", "held out"):
            table.add_column(name, justify="right")
        table.add_row("first", *_cells(found.first))
        for number, step in enumerate(found.steps, 1):
            if step.tried.importance is not None:
                table.add_row(f"{number} tried", *_cells(step.tried))
            if step.grown:
                table.add_row(f"{number} grown", *_cells(step.network))
        self._out.print(table)
        self._out.print()
        self._out.print(f"ended: {found.limit}")
        what = "and with them" if found.start == "identity" else "is checked"
        self._out.print(f"without the added blocks {what} as before, to {found.difference:.1e}")
        if found.energy is not None:
            print_energy(self._out, found.energy)
        for path in (found.output, report):
            if path is not None:
                self._out.print(f"wrote {escape(str(path))}", soft_wrap=True)


def _cells(network: GrownNetwork) -> tuple[str, ...]:
    importance = "" if network.importance is None else " ".join(f"{value:.4f}" for value in network.importance)
    score = "" if network.score is None else f"{100 * network.score:.2f} %"
    return (escape(str(list(network.depths))), compact(network.macs), compact(network.params), importance, score)
