"""Table, JSON and warnings of ``graphprune check-data``."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from graphprune.cli.show import Shown
from graphprune.pipeline.check_data import DataCheck
from graphprune.report.terminal import print_notes


class ShownDataCheck(Shown):
    """:class:`Shown` for a :class:`DataCheck`."""

    def check(self, found: DataCheck) -> None:
        """JSON file, warnings, and a row for each set and each pair of sets."""
        self._write_json(found.to_json)
        if not self._quiet:
            print_notes(Console(stderr=True, highlight=False), found.notes)
        sets = Table(box=None, pad_edge=False)
        for name in ("set", "file", "taken for"):
            sets.add_column(name)
        for name in ("samples", "repeated in it"):
            sets.add_column(name, justify="right")
        for each in found.sets:
            sets.add_row(each.role, each.origin, each.kind, f"{each.samples:,}", f"{each.repeated:,}")
        pairs = Table(box=None, pad_edge=False)
        pairs.add_column("seen before")
        for name in ("equal", "half the window", "look the same", "share"):
            pairs.add_column(name, justify="right")
        for pair in found.shared:
            counts = (f"{count:,}" for count in (pair.equal, pair.overlapping, pair.alike))
            pairs.add_row(f"{pair.role} in {pair.earlier}", *counts, f"{pair.share:.2%}")
        self._out.print(sets)
        self._out.print()
        self._out.print(pairs)
