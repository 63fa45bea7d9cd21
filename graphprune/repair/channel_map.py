"""``ridge`` for convolutions whose windows are too many numbers: one matrix from the channels left to all channels.

The map from the channels that the layer reads now to those it read in the original network is fitted,
and multiplied into the original kernels (GRAIL, CPAL 2026). It knows nothing of positions or of what the layer's output
is for.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from graphprune.ir.model import read_values
from graphprune.repair import matrices
from graphprune.repair.gram import HalvedSums
from graphprune.repair.outcome import LayerRepair
from graphprune.repair.ridge import refit
from graphprune.repair.sites import RepairLayer, affine_of
from graphprune.repair.survivors import survivors
from graphprune.repair.task import Change, RepairState, Task
from graphprune.segments.stepwise import Values


class ChannelMap(Task):
    """Kernels of the original, applied to what the channels of the original are estimated to be."""

    method: ClassVar[str] = "ridge"

    def __init__(self, scene: RepairState, site: RepairLayer) -> None:
        self._old = scene.original_node(site.node)
        self._reads = self._old.inputs[0].name
        super().__init__(scene, site, [self._reads], [site.reads])
        self._sums: HalvedSums | None = None

    @property
    def _fits(self) -> bool:
        return bool(self.node.op == "Conv" and self.node.attrs.get("group", 1) == 1)

    def add(self, theirs: Values, mine: Values, batches: int) -> None:
        if not self._fits:
            return
        target, rows = (np.moveaxis(v, 1, -1) for v in (theirs[self._reads], mine[self.site.reads]))
        if self._sums is None:
            self._sums = HalvedSums(1, rows.shape[-1], target.shape[-1])
        x, t = (values.reshape(-1, 1, values.shape[-1]).astype(np.float64) for values in (rows, target))
        self._sums.add(x, t, len(rows))

    def finish(self) -> tuple[LayerRepair, Change | None]:
        if not self._fits or self._sums is None:
            return self.outcome(0.0, 0.0, "its inputs are too many for the memory allowed"), None
        scene, site = self.scene, self.site
        sums, self._sums = self._sums, None  # one layer's at a time
        kernels = np.asarray(read_values(self._old.inputs[1], scene.original.folder), np.float64)
        outputs, inputs = kernels.shape[:2]
        kept = survivors(scene.steps, self._old.outputs[0].name, 1, outputs)
        kernels = kernels[kept]  # with the scale and shift that belong to them, whatever has been added since
        scale, offset = (each[kept] for each in affine_of(scene.original, self._old, site.chain))
        left = survivors(scene.steps, scene.in_original(site.reads), 1, inputs)
        start = np.eye(inputs)[left][None]
        fit = refit(sums, start, np.zeros((1, inputs)), with_shift=site.bias is not None)
        if fit.after < fit.before:
            mapped = np.einsum("ic,oc...->oi...", fit.matrix[0], kernels)
            groups, rows, columns = matrices.shape_of(self.node)
            matrix = mapped.reshape(columns, rows).T.reshape(groups, rows, columns) * scale
            shift = kernels.reshape(*kernels.shape[:2], -1).sum(-1) @ fit.shift[0] * scale
            matrices.write(scene.pruned, site, matrix, offset + shift)
        return self.outcome(fit.before, fit.after, f"channel map, penalty {fit.penalty:g}"), None
