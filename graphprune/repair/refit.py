"""``ridge``: weights refitted by least squares to what the original network wants of the layer."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from graphprune.errors import DataError
from graphprune.repair import matrices, padding
from graphprune.repair.gram import Array, HalvedSums, Sums
from graphprune.repair.kept_rows import HalvedRows, most_rows
from graphprune.repair.outcome import LayerRepair
from graphprune.repair.places import places
from graphprune.repair.ridge import Fit, refit
from graphprune.repair.sites import RepairLayer
from graphprune.repair.task import Change, RepairState, Task
from graphprune.segments.stepwise import Values

_CHUNK_BYTES = 64 << 20
_LEAST_NORM = 0.1  # of the median


class Refit(Task):
    """Ridge regression of the layer's target on what the layer reads now; padding does not count."""

    method: ClassVar[str] = "ridge"
    rows_type: ClassVar[type[np.floating[Any]]] = np.float32
    fits_rest: ClassVar[bool] = True
    """Whether the targets of the sums are what the present weights leave over: small where little was lost, so that
    float32 rounds little, too.
    """
    penalties: ClassVar[tuple[float, ...] | None] = None
    per_input: ClassVar[bool] = False
    """Whether the penalty is a share of each input's variance, or of their mean."""
    takes_all: ClassVar[bool] = False
    """Whether all positions are looked at, or as many as serve."""
    is_relative: ClassVar[bool] = False
    """Whether an error counts as a share of the residual stream there: where a norm reads it, that is what tells."""

    def __init__(self, scene: RepairState, site: RepairLayer) -> None:
        self._targets = [scene.in_original(site.join or site.exit)]
        if site.adder:  # what the norm adds up makes the sum
            self._targets = [tensor.name for tensor in scene.original_node(site.adder).inputs[:2]]
        self._mask = padding.mask_input(scene.pruned)
        extra = [name for name in (site.shortcut, self._mask) if name]
        super().__init__(scene, site, self._targets, [site.reads, *extra])
        self._shape = matrices.shape_of(self.node)
        self._sums: HalvedSums | None = None
        self._targets_seen = Sums.empty(self._shape[0], 0, self._shape[2])
        self._is_comparable = True
        self._first = 0
        self._random = np.random.default_rng(0)

    def fits(self, limit_bytes: int, rows: int | None) -> bool:
        """Whether its sums, or at most so many ``rows`` and the new weights, take no more than that."""
        groups, inputs, outputs = self._shape
        if HalvedSums.memory_bytes(groups, inputs, outputs) <= limit_bytes:
            return True
        is_kept = rows is not None and -(-rows // 2) <= most_rows(groups, inputs)
        return is_kept and 8 * inputs * max(rows or 0, outputs) <= limit_bytes

    def add(self, theirs: Values, mine: Values, batches: int) -> None:
        axis, reads = self.site.axis, mine[self.site.reads]
        wanted_here = [self.scene.kept(name, axis, theirs[name]) for name in self._targets]
        target = np.moveaxis(sum(wanted_here[1:], wanted_here[0]), axis, -1)
        if len(target) != len(reads):  # how many rows there are depends on the data, or only the shortcut has samples
            self._is_comparable = False
            return
        shortcut = None
        if self.site.shortcut:
            shortcut = np.broadcast_to(np.moveaxis(mine[self.site.shortcut], axis, -1), target.shape)
        self._first = self._first or len(reads)  # a smaller last batch must not count for more
        counted = padding.counted(mine[self._mask], target.shape) if self._mask and axis == -1 else None
        seen = (self._first, *target.shape[1:])
        chosen = None if self.takes_all else places(seen, self._shape[1], batches, self._random)
        groups, inputs, outputs = self._shape
        positions = int(np.prod(target.shape[1:-1])) if chosen is None else len(chosen)
        step = max(1, _CHUNK_BYTES // (8 * positions * groups * inputs))
        for part in (slice(start, start + step) for start in range(0, len(reads), step)):
            wanted = matrices.picked(target[part], 1, chosen).astype(self.rows_type)
            more = {}
            if counted is not None:
                more["counted"] = matrices.picked(counted[part], 0, chosen).reshape(-1)
            if self.is_relative and self.site.is_joined:
                more["weights"] = _inverse_norms(wanted.reshape(-1, wanted.shape[-1]), more.get("counted"))
            if shortcut is not None:
                wanted -= matrices.picked(shortcut[part], 1, chosen)
            rows = matrices.rows(self.node, reads[part], chosen, self.rows_type)
            wanted = wanted.reshape(len(rows), groups, outputs)
            if self.fits_rest:
                told = wanted[more["counted"]] if "counted" in more else wanted
                self._targets_seen.add(told[..., :0], told)
                wanted -= self._given(rows)
            self._sums = self._sums or HalvedRows(*self._shape)
            self._sums.add(rows, wanted, len(reads[part]), **more)

    def _given(self, rows: np.ndarray) -> np.ndarray:
        """What the present weights make of rows (n, groups, inputs): (n, groups, outputs)."""
        matrix = self._present_matrix.astype(rows.dtype)
        made = rows[:, 0] @ matrix[0] if len(matrix) == 1 else (rows.transpose(1, 0, 2) @ matrix).transpose(1, 0, 2)
        shift = self.site.shift.reshape(len(matrix), -1).astype(rows.dtype)
        return np.asarray(made.reshape(len(rows), *shift.shape) + shift)

    @cached_property
    def _present_matrix(self) -> Array:
        return matrices.exit_matrix(self.scene.pruned, self.node, self.site.scale)

    def finish(self) -> tuple[LayerRepair, Change | None]:
        fit = self.fit()
        if fit is None:
            return self.outcome(0.0, 0.0, "its rows are not those of the original"), None
        if fit.after < fit.before:
            matrices.write(self.scene.pruned, self.site, fit.matrix, fit.shift.reshape(-1))
        return self.outcome(fit.before, fit.after, f"penalty {fit.penalty:g}"), None

    def fit(self) -> Fit | None:
        """The best weights for what has been summed, which is given once; None where the rows are not those of the
        original.
        """
        sums, self._sums = self._sums, None  # one layer's at a time
        if sums is None or not self._is_comparable:
            return None
        return self.fitted(sums, self._present_matrix)

    def whole_sums(self) -> Sums:
        """What has been summed; it is given once.

        Raises
        ------
        DataError
            There are no rows, or not the same number in both networks.
        """
        sums, self._sums = self._sums, None
        if sums is None or not self._is_comparable or not sums.whole.n:
            raise DataError(f"no row of the samples reaches {self.site.label}", "give more or longer samples")
        return sums.whole

    def fitted(self, sums: HalvedSums, matrix: Array) -> Fit:
        """The best weights for ``sums`` near ``matrix`` (groups, inputs, outputs)."""
        groups, _, outputs = matrix.shape
        shift = self.site.shift.reshape(groups, outputs)
        alive = matrices.is_alive(self.site.scale).reshape(groups, outputs)
        start = (np.zeros_like(matrix), np.zeros_like(shift)) if self.fits_rest else (matrix, shift)
        fit = refit(
            sums,
            *start,
            with_shift=self.site.bias is not None,
            alive=alive,
            penalties=self.penalties,
            per_input=self.per_input,
            variation=self._targets_seen.variation if self.fits_rest else None,
        )
        return replace(fit, matrix=matrix + fit.matrix, shift=shift + fit.shift) if self.fits_rest else fit


def _inverse_norms(rows: np.ndarray, counted: np.ndarray | None) -> np.ndarray:
    """One over the root mean square of each row (rows, channels);
    rows of hardly anything, beside those that are ``counted``, are not to decide.
    """
    sizes = np.sqrt(np.mean(np.square(rows), axis=1))
    seen = sizes if counted is None else sizes[counted]
    floor = _LEAST_NORM * float(np.median(seen)) if len(seen) else 0.0
    return np.asarray(1 / np.maximum(sizes, floor or 1.0), sizes.dtype)
