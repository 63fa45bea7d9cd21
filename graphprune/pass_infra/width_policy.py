"""The multiples in which kept widths are wanted: the user's own, or what the runtime is measured to like."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from graphprune.analysis.groups import Group
from graphprune.measure.alignment import multiple_for
from graphprune.plan.multiples import WHOLE_KINDS, Multiples
from graphprune.runtime.sessions import RuntimeOptions


@dataclass(frozen=True)
class WidthPolicy:
    """Kept widths are to be multiples of ``align``; ``auto`` asks the ``runtime``,
    and ``cache_dir`` keeps the times that tell.

    ``min_multiple`` lets ``auto`` go below its multiple, by halves down to this.
    """

    align: int | Literal["auto"]
    runtime: RuntimeOptions
    cache_dir: Path | None = None
    min_multiple: int | None = None

    def measured(self) -> Multiples:
        """The multiples. With ``auto`` this times the runtime, for seconds,
        where neither this process nor the cache knows it.
        """
        if self.align != "auto":
            return Multiples(self.align, is_automatic=False)
        return Multiples(multiple_for(self.runtime, self.cache_dir), is_automatic=True)

    def measured_for(self, groups: Iterable[Group]) -> Multiples:
        """The same, without a measurement where no kernel wants multiples of any of ``groups``."""
        if all(group.kind in WHOLE_KINDS for group in groups):
            return Multiples(1, is_automatic=False)
        return self.measured()
