"""``stats``: mean and standard deviation of every channel made what they were in the original network.

What NNCF and EagleEye do to the statistics of BatchNorm, for any layer: a factor and an offset per channel.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from graphprune.repair import matrices
from graphprune.repair.moments import ChannelMoments
from graphprune.repair.outcome import LayerRepair
from graphprune.repair.ridge import NOISE
from graphprune.repair.sites import RepairLayer
from graphprune.repair.task import Change, RepairState, Task
from graphprune.segments.stepwise import Values

Vector = NDArray[np.float64]


class MomentMatching(Task):
    """The channels of the exit, scaled and shifted. Error: squared distance of means and deviations."""

    method: ClassVar[str] = "stats"

    def __init__(self, scene: RepairState, site: RepairLayer) -> None:
        self._target = scene.in_original(site.exit)
        super().__init__(scene, site, [self._target], [site.exit])
        self._theirs = ChannelMoments(), ChannelMoments()  # of even and odd samples
        self._mine = ChannelMoments(), ChannelMoments()
        self._seen = self._rank = 0

    def add(self, theirs: Values, mine: Values, batches: int) -> None:
        axis = self.site.axis
        target = self.scene.kept(self._target, axis, theirs[self._target])
        for values, halves in ((target, self._theirs), (mine[self.site.exit], self._mine)):
            for index, half in enumerate(halves):
                half.add(values[(index + self._seen) % 2 :: 2], axis)
        self._seen += len(target)
        self._rank = target.ndim

    def finish(self) -> tuple[LayerRepair, Change | None]:
        theirs, mine, site = self._theirs, self._mine, self.site
        whole = theirs[0] + theirs[1]
        scale = float(np.sum(whole.deviation**2)) or float(np.sum(whole.mean**2)) or 1.0
        before = after = sum(_distance(t, m.mean, m.deviation) for t, m in zip(theirs, mine, strict=True)) / 2 / scale
        if before > NOISE and not any(half.is_empty for half in (*theirs, *mine)):
            after = sum(self._held_out(one, 1 - one) for one in (0, 1)) / 2 / scale
        outcome = self.outcome(before, after)
        if not outcome.is_kept:
            return outcome, None
        factors, offsets = self._match(whole, mine[0] + mine[1])
        model = self.scene.pruned
        matrix = matrices.exit_matrix(model, self.node, site.scale)
        groups, _, outputs = matrix.shape
        matrices.write(model, site, matrix * factors.reshape(groups, 1, outputs), factors * site.shift + offsets)
        shape = (-1, *[1] * (self._rank - 2)) if site.axis == 1 else (-1,)
        return outcome, (factors.reshape(shape), offsets.reshape(shape))

    def _match(self, target: ChannelMoments, present: ChannelMoments) -> tuple[Vector, Vector]:
        """Factors and offsets that make ``present`` like ``target``; channels that do not vary are only shifted."""
        varies = (present.deviation > 0) & matrices.is_alive(self.site.scale)
        factors = np.where(varies, target.deviation / np.where(varies, present.deviation, 1.0), 1.0)
        if self.site.bias is None:
            return factors, (1 - factors) * self.site.shift
        is_reached = matrices.is_alive(self.site.bias.gain)
        return factors, np.where(is_reached, target.mean - factors * present.mean, (1 - factors) * self.site.shift)

    def _held_out(self, fitted: int, judged: int) -> float:
        """Distance of one half after the match that the other half asks for."""
        factors, offsets = self._match(self._theirs[fitted], self._mine[fitted])
        present = self._mine[judged]
        return _distance(self._theirs[judged], factors * present.mean + offsets, factors * present.deviation)


def _distance(target: ChannelMoments, mean: Vector, deviation: Vector) -> float:
    return float(np.sum((target.mean - mean) ** 2 + (target.deviation - deviation) ** 2))
