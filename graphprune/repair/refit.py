"""``ridge``: weights refitted by least squares to what the original network wants of the layer."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from graphprune.repair import matrices
from graphprune.repair.gram import HalvedSums
from graphprune.repair.outcome import LayerRepair
from graphprune.repair.places import places
from graphprune.repair.ridge import refit
from graphprune.repair.sites import RepairLayer
from graphprune.repair.task import Change, RepairState, Task
from graphprune.segments.stepwise import Values

_CHUNK_BYTES = 64 << 20


class Refit(Task):
    """Ridge regression of the layer's target on what the layer reads now."""

    method: ClassVar[str] = "ridge"

    def __init__(self, scene: RepairState, site: RepairLayer) -> None:
        self.target = scene.in_original(site.join or site.exit)
        super().__init__(scene, site, [self.target], [site.reads, *([site.shortcut] if site.shortcut else [])])
        self._shape = matrices.shape_of(self.node)
        self._sums: HalvedSums | None = None
        self._is_comparable = True
        self._first = 0
        self._random = np.random.default_rng(0)

    @property
    def memory_bytes(self) -> int:
        """Of the sums."""
        return HalvedSums.memory_bytes(*self._shape)

    def add(self, theirs: Values, mine: Values, batches: int) -> None:
        axis, reads = self.site.axis, mine[self.site.reads]
        target = np.moveaxis(self.scene.kept(self.target, axis, theirs[self.target]), axis, -1)
        if len(target) != len(reads):  # how many rows there are depends on the data, or only the shortcut has samples
            self._is_comparable = False
            return
        shortcut = None
        if self.site.shortcut:
            shortcut = np.broadcast_to(np.moveaxis(mine[self.site.shortcut], axis, -1), target.shape)
        self._first = self._first or len(reads)  # a smaller last batch must not count for more
        chosen = places((self._first, *target.shape[1:]), self._shape[1], batches, self._random)
        groups, inputs, outputs = self._shape
        positions = int(np.prod(target.shape[1:-1])) if chosen is None else len(chosen)
        step = max(1, _CHUNK_BYTES // (8 * positions * groups * inputs))
        for part in (slice(start, start + step) for start in range(0, len(reads), step)):
            wanted = matrices.picked(target[part], 1, chosen).astype(np.float64)
            if shortcut is not None:
                wanted -= matrices.picked(shortcut[part], 1, chosen)
            rows = matrices.rows(self.node, reads[part], chosen)
            self._sums = self._sums or HalvedSums(*self._shape)
            self._sums.add(rows, wanted.reshape(len(rows), groups, outputs), len(reads[part]))

    def finish(self) -> tuple[LayerRepair, Change | None]:
        if self._sums is None or not self._is_comparable:
            self._sums = None
            return self.outcome(0.0, 0.0, "its rows are not those of the original"), None
        sums, self._sums = self._sums, None  # one layer's at a time
        site, model = self.site, self.scene.pruned
        matrix = matrices.exit_matrix(model, self.node, site.scale)
        groups, _, outputs = matrix.shape
        shift, alive = site.shift.reshape(groups, outputs), matrices.is_alive(site.scale).reshape(groups, outputs)
        fit = refit(sums, matrix, shift, with_shift=site.bias is not None, alive=alive)
        if fit.after < fit.before:
            matrices.write(model, site, fit.matrix, fit.shift.reshape(-1))
        return self.outcome(fit.before, fit.after, f"penalty {fit.penalty:g}"), None
