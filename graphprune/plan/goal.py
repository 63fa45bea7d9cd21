"""How far one pass has to go: the target, and what earlier passes have done for it. Pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

from graphprune.analysis.cost import Cost
from graphprune.plan.target import Target


@dataclass(frozen=True)
class Goal:
    """``dense`` is the cost before the first pass; ``removed_before`` counts the units that earlier passes took, of the
    ``considered_before`` that they looked at. ``is_last`` tells that no later pass can help to reach the target.

    ``in_rounds`` tells that training follows each removal: a pass then takes one block, or a tenth of its units,
    and is asked again.
    """

    target: Target
    dense: Cost
    removed_before: int = 0
    considered_before: int = 0
    is_last: bool = True
    in_rounds: bool = False

    def is_met(self, now: Cost, removed: int = 0, considered: int = 0) -> bool:
        """Whether the target is met when this pass has taken ``removed`` of ``considered`` units and left ``now``."""
        return self.target.is_met(self.dense, now, *self._counted(removed, considered))

    def reached(self, now: Cost, removed: int = 0, considered: int = 0) -> float:
        """The figure to compare with the target's value."""
        return self.target.reached(self.dense, now, *self._counted(removed, considered))

    def progress(self, now: Cost, removed: int = 0, considered: int = 0) -> float:
        """How much of the way is done, from 0 to 1."""
        return self.target.progress(self.dense, now, *self._counted(removed, considered))

    def _counted(self, removed: int, considered: int) -> tuple[int, int]:
        return self.removed_before + removed, self.considered_before + considered
