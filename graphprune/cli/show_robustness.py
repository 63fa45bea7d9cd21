"""Tables, JSON and notes of ``graphprune evaluate``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

from graphprune.cli.show import Shown
from graphprune.report.robustness import print_robustness
from graphprune.report.terminal import print_notes

if TYPE_CHECKING:
    from graphprune.evaluation.robustness_report import RobustnessReport


class ShownRobustness(Shown):
    """:class:`Shown` for a :class:`RobustnessReport`."""

    def robustness(self, report: RobustnessReport, verbose: bool) -> None:
        """JSON file, notes, table."""
        self._write_json(report.to_json)
        if not self._quiet:
            print_notes(Console(stderr=True, highlight=False), report.notes)
        print_robustness(self._out, report, verbose)
