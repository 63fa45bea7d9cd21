"""``walk``: only the layers that read what goes are refitted, each on what the network pruned so far gives it.

In a decoder's MLP that is the last layer: it makes up for the neurons that are gone and, its target being the
original's residual stream minus the pruned one before it, for the drift of all that was removed earlier. Which units go
may be chosen on the way: optimal brain surgeon (Hassibi & Stork, NIPS 1992), by the sums that the refit needs anyway.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from graphprune.analysis.groups import Group
from graphprune.analysis.model_analysis import ModelAnalysis
from graphprune.analysis.sizes import Sizes
from graphprune.axes import algebra
from graphprune.importance.obs import Reader, removal_losses
from graphprune.ir.model import Model
from graphprune.repair import matrices
from graphprune.repair.outcome import LayerRepair
from graphprune.repair.refit import Refit
from graphprune.repair.ridge import Solver
from graphprune.repair.sites import RepairLayer, find_sites, is_layer, is_own, site_of
from graphprune.repair.task import Change, RepairState
from graphprune.scoring.consumers import consumers

DAMPING = 3e-1
"""Of each input's variance, while units are chosen. A few inputs of a language model are a thousand times larger than
the others: a share of their mean would hold all others fast.
"""
PENALTIES = (3e-2, 1e-1, 3e-1, 1.0, 3.0)
"""The same, for the refit."""

NONE = 1e-12  # there is damping enough
_BATCH_BYTES = 32 << 20
"""Of the largest tensor."""


class WalkRefit(Refit):
    """A layer's refit with strong penalties, for which float32 products are exact enough."""

    method: ClassVar[str] = "walk"
    fits_rest: ClassVar[bool] = False
    penalties: ClassVar[tuple[float, ...]] = PENALTIES
    per_input: ClassVar[bool] = True
    takes_all: ClassVar[bool] = True
    is_relative: ClassVar[bool] = True


@dataclass(frozen=True)
class ReadGroup:
    """A group that one layer alone reads: ``owner`` (inputs,) is the unit of each input of it, -1 for none."""

    group: Group
    site: RepairLayer
    owner: NDArray[np.intp]


def read_group(analysis: ModelAnalysis, group: Group) -> ReadGroup | None:
    """``group`` with the layer that reads it, if that is one alone and can be refitted."""
    found = consumers(analysis.model, analysis.typing, group)
    if len(found) != 1 or len(group.readers) != 1:
        return None
    node, place = found[0].node, found[0].place
    axes = analysis.typing.of(node, 0)
    if found[0].operand != 1 or axes is None or not (is_layer(node) and is_own(node)):
        return None
    groups, inputs, _ = matrices.shape_of(node)
    owner = algebra.positions_of(axes[place], group.atom)
    if groups > 1 or inputs % len(owner):
        return None
    site = site_of(analysis.flow, node, analysis.sizes)
    return ReadGroup(group, site, np.repeat(owner, inputs // len(owner)))


class Choice(WalkRefit):
    """Takes ``count`` units of the group and refits the reader, whose weights for them are zero from then on.

    Afterwards ``losses`` has one number per unit, low for those that go.
    """

    def __init__(self, scene: RepairState, read: ReadGroup, count: int) -> None:
        super().__init__(scene, read.site)
        self.read, self._count = read, count
        self.losses: NDArray[np.float64] = np.zeros(read.group.size)

    def finish(self) -> tuple[LayerRepair, Change | None]:
        sums, self._sums = self._sums, None
        matrix = matrices.exit_matrix(self.scene.pruned, self.node, self.site.scale)
        outcome = self.outcome(0.0, 0.0, "its rows are not those of the original")
        left = np.ones(matrix.shape[1], dtype=bool)
        shift = self.site.shift[None]
        if sums is not None and self._is_comparable:
            free = np.ones_like(shift, dtype=bool)
            solver = Solver(sums.whole, matrix, shift, self.site.bias is not None, free, self.per_input)
            best, _ = solver.solve(DAMPING)
            units = self.read.group.size
            reader = Reader(solver.damped(DAMPING)[0] / sums.whole.n, best[0], self.read.owner, units, NONE)
            self.losses = removal_losses([reader], units, self._count)
            left = ~np.isin(self.read.owner, self.removed)
            fit = self.fitted(sums.picked(left), matrix[:, left])
            outcome = self.outcome(fit.before, fit.after, f"penalty {fit.penalty:g}")
            matrix, shift = matrix.copy(), fit.shift
            matrix[:, left] = fit.matrix
        left = ~np.isin(self.read.owner, self.removed)
        matrix = np.where(left[:, None], matrix, 0.0)
        matrices.write(self.scene.pruned, self.site, matrix, shift.reshape(-1))
        return outcome, None

    @property
    def removed(self) -> NDArray[np.intp]:
        """The units that go, ascending."""
        return np.sort(np.argsort(self.losses, kind="stable")[: self._count])


def cut_readers(original: Model, pruned: Model, sizes: Sizes) -> list[RepairLayer]:
    """The sites of ``pruned`` whose own weights have lost inputs."""
    before = {node.name: node for node in original.graph.nodes}
    nodes = {node.name: node for node in pruned.graph.nodes}
    return [
        site
        for site in find_sites(original, pruned, sizes)
        if site.node in before  # a linear map is none that has been cut
        and matrices.shape_of(nodes[site.node])[1] < matrices.shape_of(before[site.node])[1]
    ]


def modest_batch(model: Model, sizes: Sizes, last: str, batch: int) -> int:
    """At most ``batch`` samples, and so few that no tensor before the node ``last`` gets large."""
    largest = max((4 * prod(sizes.get(name, ())) for name in _made_until(model, last)), default=1)
    return max(1, min(batch, _BATCH_BYTES // largest))


def _made_until(model: Model, last: str) -> Iterator[str]:
    for node in model.graph.nodes:
        yield from (tensor.name for tensor in node.outputs)
        if node.name == last:
            return
