"""The layers that read a group, and what they read."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from graphprune.analysis.groups import Group
from graphprune.analysis.roles import weight_axes
from graphprune.axes import algebra
from graphprune.axes.algebra import Axis
from graphprune.axes.typing import Contraction, Typing
from graphprune.ir.model import Model
from graphprune.ir.quantised import weight_place, weight_values


@dataclass(frozen=True)
class Consumer:
    """A layer whose weights sum over ``axis``: data ``tensor`` along its axis ``place``,
    weights ``operand`` along ``row``.
    """

    node: gs.Node
    axis: Axis
    tensor: str
    place: int
    operand: int
    row: int

    def features(self, values: np.ndarray) -> np.ndarray:
        """The tensor with the summed axis last, samples first."""
        return np.moveaxis(values, self.place, -1)

    def weights(self, model: Model) -> np.ndarray:
        """(summed, written) matrix; kernels count as written."""
        place = weight_place(self.node, self.operand)
        assert place is not None  # the consumer was found by its weights
        values = weight_values(*place, model.folder)
        return np.moveaxis(values, self.row, 0).reshape(values.shape[self.row], -1)


def consumers(model: Model, typing: Typing, group: Group) -> list[Consumer]:
    """The layers with constant weights that sum over the group, and over one axis only: an Einsum may sum over more."""
    nodes = {node.name: node for node in model.graph.nodes}
    data: dict[tuple[str, int], list[Contraction]] = defaultdict(list)
    for place in typing.contractions:
        data[place.node, place.operand].append(place)
    found = []
    for name in group.readers:
        for weight in weight_axes(nodes[name]):
            axes = typing.constants.get(weight.constant)
            if weight.is_output or axes is None or group.atom not in set(algebra.atoms_of(axes[weight.axis])):
                continue
            places = data[name, 1 - weight.operand]
            if len(places) == 1:
                place = places[0]
                tensor = nodes[name].inputs[place.operand].name
                found.append(Consumer(nodes[name], axes[weight.axis], tensor, place.axis, weight.operand, weight.axis))
    return found


def mean_per_unit(values: NDArray[np.float64], positions: NDArray[np.intp], size: int) -> NDArray[np.float64]:
    """Mean of ``values`` over the entries that belong to each unit; -1 belongs to none."""
    mine = positions >= 0
    counts = np.bincount(positions[mine], minlength=size)
    sums = np.bincount(positions[mine], values[mine], minlength=size).astype(np.float64)
    return sums / np.maximum(counts, 1)
